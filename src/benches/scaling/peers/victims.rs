//! Which pods a ReplicaSet deletes first: `ActivePodsWithRanks` in kubernetes/kubernetes,
//! pkg/controller/controller_utils.go, of whose rules these can differ here: a pod without a node or pending before one
//! that runs, one that runs and is not ready before one that is, one that became ready later before one that did
//! earlier, one created later before one created earlier. (Costs of deletion and restarts are the same for all; with a
//! node for each pod none is doubled up.) Times are compared by the power of two of their age in nanoseconds, and
//! within one power by the pod's random UID (feature LogarithmicScaleDown, on since 1.22).

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Pending,
    Starting,
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    pub stage: Stage,
    /// Nanoseconds since it became ready; not looked at before that.
    pub ready_for: u64,
    /// Nanoseconds since it was created.
    pub age: u64,
    /// A random number of its own, drawn once.
    pub uid: u64,
}

/// What to sort by: the lowest is deleted first. Whether a pod is at work is nowhere in it.
pub fn deletion_order(pod: &Pod) -> (Stage, i64, i64, u64) {
    let ready = if pod.stage == Stage::Ready { rank(pod.ready_for) } else { 0 };
    // Two of one rank are told apart by their UID at once, before their creation is looked at.
    let (ready, age) = if pod.stage == Stage::Ready { (ready, 0) } else { (0, rank(pod.age)) };
    (pod.stage, ready, age, pod.uid)
}

fn rank(age: u64) -> i64 {
    age.checked_ilog2().map_or(-1, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pod(stage: Stage, ready_for: u64, age: u64, uid: u64) -> Pod {
        Pod { stage, ready_for, age, uid }
    }

    /// The general algorithm of the documentation's page on ReplicaSet, "Scaling a ReplicaSet".
    #[test]
    fn those_that_do_not_serve_go_first_then_the_youngest_in_powers_of_two() {
        let pending = pod(Stage::Pending, 0, 900 * SECOND, 9);
        let starting = pod(Stage::Starting, 0, 900 * SECOND, 9);
        let (young, old) = (pod(Stage::Ready, 10 * SECOND, 60 * SECOND, 9), pod(Stage::Ready, 600 * SECOND, 650, 1));
        let mut pods = vec![old, young, starting, pending];
        pods.sort_by_key(deletion_order);
        assert_eq!(pods, [pending, starting, young, old]);
    }

    #[test]
    fn within_one_power_of_two_chance_decides() {
        // 40 s and 60 s lie between 2^35 and 2^36 nanoseconds.
        let (younger, older) = (pod(Stage::Ready, 40 * SECOND, 80 * SECOND, 7), pod(Stage::Ready, 60 * SECOND, 100, 3));
        assert!(deletion_order(&older) < deletion_order(&younger));
        let other = Pod { uid: 8, ..older };
        assert!(deletion_order(&younger) < deletion_order(&other));
    }
}
