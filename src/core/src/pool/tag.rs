//! What an instance wears so that it is found and knows itself: EC2's tags.
//!
//! Keys keep to `[A-Za-z0-9+-=.,_:@]`: the metadata service, from which an instance reads its own, knows no others.

use super::AppTierId;
use crate::message::Epoch;
use std::collections::BTreeMap;

/// The pool's name: by it the pool is found.
pub const POOL: &str = "bellows:pool";
/// All app-tier ids of the launch, in the order of its instances.
pub const IDS: &str = "bellows:ids";
/// The epoch of the leader that launched it.
pub const EPOCH: &str = "bellows:epoch";
/// What people see in lists.
pub const NAME: &str = "Name";

/// Between two ids. A comma is not among the characters that every service takes in a value.
const SEPARATOR: &str = "+";

/// The tags of a launch. Forty ids of four digits fit into the 256 characters of a value.
pub fn of_launch(pool: &str, ids: &[AppTierId], epoch: Epoch) -> BTreeMap<String, String> {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    [(POOL, pool.to_owned()), (IDS, ids.join(SEPARATOR)), (EPOCH, epoch.0.to_string())]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

/// The id of the launch's `index`-th instance (EC2's ami-launch-index, from 0) by the value of its tag [`IDS`]. None where
/// the value makes no sense.
pub fn id(ids: &str, index: u32) -> Option<AppTierId> {
    let id = ids.split(SEPARATOR).nth(index as usize)?.parse().ok()?;
    (id > 0).then_some(AppTierId(id))
}

/// What people see: `app-instance7`, as the original named its instances.
pub fn name(id: AppTierId) -> String {
    format!("app-instance{}", id.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::MAX_IDS;

    #[test]
    fn each_instance_of_a_launch_finds_its_own_id() {
        let ids: Vec<AppTierId> = [3, 17, 4].map(AppTierId).into();
        let tags = of_launch("blue", &ids, Epoch(5));
        assert_eq!((tags[POOL].as_str(), tags[IDS].as_str(), tags[EPOCH].as_str()), ("blue", "3+17+4", "5"));
        let found: Vec<_> = (0..4).map(|index| id(&tags[IDS], index)).collect();
        assert_eq!(found, [Some(ids[0]), Some(ids[1]), Some(ids[2]), None]);
    }

    #[test]
    fn what_is_no_list_of_ids_names_nobody() {
        for odd in ["", "x", "1,2", "0", "-1", "99999999999", "+2"] {
            assert_eq!(id(odd, 0), None, "{odd}");
        }
    }

    #[test]
    fn the_largest_launch_fits_into_a_tag() {
        // a pool has at most 1000 ids, a tag value 256 characters
        let ids: Vec<AppTierId> = (0..MAX_IDS as u32).map(|n| AppTierId(1000 - n)).collect();
        assert!(of_launch("p", &ids, Epoch(1))[IDS].len() <= 256);
    }
}
