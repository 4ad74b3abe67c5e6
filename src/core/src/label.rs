//! From what a model gives for its classes to labels: softmax, the most probable classes, their names.

use crate::answer::Prediction;

/// Logits to probabilities, in place. `exp` is libm's, so that one image has one answer on every platform.
///
/// A NaN counts as minus infinity, and several plus infinities share everything, so that the result is always finite,
/// in 0..=1, and sums to 1, or is all zeros where no number was left.
pub fn softmax(values: &mut [f32]) {
    let highest = values.iter().copied().filter(|v| !v.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    if highest == f32::NEG_INFINITY {
        values.fill(0.0);
        return;
    }
    let mut sum = 0.0_f64;
    for value in &mut *values {
        *value = match *value {
            v if v.is_nan() => 0.0,
            // Covers infinity, where the difference would be no number.
            v if v >= highest => 1.0,
            v => libm::expf(v - highest),
        };
        sum += f64::from(*value);
    }
    for value in values {
        *value = (f64::from(*value) / sum) as f32;
    }
}

/// The `count` most probable classes, the most probable first, of equal ones the lower index. NaN comes last, as 0.
pub fn top(probabilities: &[f32], count: usize) -> Vec<(usize, f32)> {
    let number = |p: f32| if p.is_nan() { 0.0 } else { p };
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(count.min(probabilities.len()) + 1);
    for (index, probability) in probabilities.iter().copied().map(number).enumerate() {
        if best.len() == count && best.last().is_none_or(|last| probability <= last.1) {
            continue;
        }
        let place = best.partition_point(|other| other.1 >= probability);
        best.insert(place, (index, probability));
        best.truncate(count);
    }
    best
}

/// The `count` most probable classes with their names; a class without a name is called by its number.
pub fn predictions(probabilities: &[f32], names: &[String], count: usize) -> Vec<Prediction> {
    top(probabilities, count)
        .into_iter()
        .map(|(index, probability)| Prediction {
            index: index as u32,
            label: names.get(index).cloned().unwrap_or_else(|| index.to_string()),
            // JSON has no infinity
            probability: probability.clamp(f32::MIN, f32::MAX),
        })
        .collect()
}

/// The names of a label list: a line a class, of each line the first name ("tench", not "tench, Tinca tinca").
pub fn names(list: &str) -> Vec<String> {
    list.lines().map(|line| line.split(',').next().unwrap_or_default().trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_name_counts() {
        assert_eq!(names("tench, Tinca tinca\ngoldfish\n"), ["tench", "goldfish"]);
    }

    #[test]
    fn no_prediction_is_infinite() {
        let found = predictions(&[f32::NEG_INFINITY, f32::NAN, f32::INFINITY], &[], 3);
        let found: Vec<(u32, f32)> = found.iter().map(|p| (p.index, p.probability)).collect();
        assert_eq!(found, [(2, f32::MAX), (1, 0.0), (0, f32::MIN)]);
    }

    #[test]
    fn softmax_of_known_values() {
        let mut values = [1.0, 2.0, 3.0];
        softmax(&mut values);
        for (value, expected) in values.iter().zip([0.090_030_57, 0.244_728_48, 0.665_240_94]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn infinities_share_everything_and_no_number_counts_for_nothing() {
        let mut values = [f32::NAN, f32::INFINITY, 1.0, f32::INFINITY];
        softmax(&mut values);
        assert_eq!(values.map(|value| (value * 1e6) as u32), [0, 500_000, 0, 500_000]);
    }

    #[test]
    fn nothing_left_is_all_zeros() {
        let mut values = [f32::NAN, f32::NEG_INFINITY];
        softmax(&mut values);
        assert!(values.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn of_equal_classes_the_lower_index_comes_first() {
        assert_eq!(top(&[0.2, 0.4, 0.4], 2), [(1, 0.4), (2, 0.4)]);
        assert_eq!(top(&[f32::NAN, 0.0, 0.1], 3), [(2, 0.1), (0, 0.0), (1, 0.0)]);
        assert_eq!(top(&[0.5], 0), []);
    }

    #[test]
    fn a_class_without_a_name_is_called_by_its_number() {
        let best = predictions(&[0.1, 0.6, 0.3], &names("tench\ngoldfish"), 2);
        let prediction = |index, label: &str, probability| Prediction { index, label: label.into(), probability };
        assert_eq!(best, [prediction(1, "goldfish", 0.6), prediction(2, "2", 0.3)]);
    }

    proptest! {
        #[test]
        fn softmax_gives_probabilities(mut values in prop::collection::vec(prop::num::f32::ANY, 1..50)) {
            let before = values.clone();
            softmax(&mut values);
            let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
            prop_assert!(values.iter().all(|v| (0.0..=1.0).contains(v)), "{before:?} -> {values:?}");
            prop_assert!((sum - 1.0).abs() < 1e-5 || values.iter().all(|v| *v == 0.0), "{before:?} -> {values:?}");
        }

        #[test]
        fn softmax_keeps_the_order(mut values in prop::collection::vec(-50.0_f32..50.0, 2..50)) {
            let before = values.clone();
            softmax(&mut values);
            for i in 1..values.len() {
                prop_assert!(before[i - 1] > before[i] || values[i - 1] <= values[i]);
            }
        }

        #[test]
        fn top_is_the_head_of_a_stable_sort(values in prop::collection::vec(prop::num::f32::ANY, 0..60), count in 0_usize..70) {
            let mut sorted: Vec<(usize, f32)> =
                values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).enumerate().collect();
            sorted.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
            sorted.truncate(count);
            prop_assert_eq!(top(&values, count), sorted);
        }
    }
}
