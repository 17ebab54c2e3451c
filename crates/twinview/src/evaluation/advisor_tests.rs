//! Made-up runs for each verdict.

use super::*;

/// What an advisor says of a run of `epochs`, measured after each `step` epochs, with the epoch in which it says so.
fn run(epochs: u64, step: u64, figures: impl Fn(u64) -> Observation) -> (Advisor, Vec<(u64, String)>) {
    let mut advisor = Advisor::new();
    let said = (1..=epochs)
        .filter(|epoch| epoch % step == 0)
        .filter_map(|epoch| Some((epoch, advisor.observe(Observation { epoch, epochs, ..figures(epoch) })?)))
        .collect();
    (advisor, said)
}

/// Rises from `low` to `high` within about `pace` epochs and stays there.
fn rise(epoch: u64, pace: f64, low: f64, high: f64) -> f64 {
    high - (high - low) * (-(epoch as f64) / pace).exp()
}

#[test]
fn a_run_that_levels_off_is_improving_and_then_done() {
    let (advisor, said) = run(60, 1, |epoch| Observation {
        loss: 1.0 / epoch as f64,
        output_std: Some(0.9),
        effective_rank: Some(rise(epoch, 3.0, 10.0, 60.0)),
        // Wobbles as real ones do, by less than counts.
        knn_accuracy: Some(rise(epoch, 5.0, 0.5, 0.82) + 0.002 * (epoch % 3) as f64),
        ..Default::default()
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0].0, 7, "a window of 6 epochs needs a seventh");
    assert!(said[0].1.starts_with("epoch 7: still improving: kNN accuracy 0.5"), "{}", said[0].1);
    assert!(said[0].1.contains("over the last 6 epochs"));
    let (epoch, done) = &said[1];
    assert!((25..45).contains(epoch), "{epoch}");
    assert!(done.contains("done by the look of it: neither kNN accuracy (0.82"), "{done}");
    assert!(done.contains("nor effective rank (60.0, best") && done.contains("in the last 12 epochs"), "{done}");
    assert!(!done.contains("Without labels"));
    let summary = advisor.summary().unwrap();
    assert!(summary.starts_with("after epoch 60 of 60, it was done by the look of it"), "{summary}");
    assert!(summary.contains("kNN accuracy 0.82") && advisor.verdict() == Verdict::Done);
}

#[test]
fn a_run_that_ends_early_was_still_improving() {
    let (advisor, said) =
        run(20, 2, |epoch| Observation { knn_accuracy: Some(0.5 + 0.01 * epoch as f64), ..Default::default() });
    assert_eq!(said.len(), 1);
    assert_eq!(said[0], (6, "epoch 6: still improving: kNN accuracy 0.520 → 0.560 over the last 4 epochs".into()));
    assert!(advisor.summary().unwrap().contains("more epochs are likely to help"));
}

#[test]
fn a_spread_of_zero_is_a_collapse_and_only_said_once() {
    let (advisor, said) = run(30, 1, |epoch| Observation {
        loss: -1.0,
        output_std: Some(if epoch < 10 { 0.9 } else { 0.01 }),
        effective_rank: Some(if epoch < 10 { 20.0 + epoch as f64 } else { 1.1 }),
        ..Default::default()
    });
    let collapsed: Vec<_> = said.iter().filter(|(_, said)| said.contains("collapsing")).collect();
    assert!(collapsed.len() == 1 && collapsed[0].0 == 10, "{said:?}");
    assert!(collapsed[0].1.contains("0.010"));
    assert_eq!(said.last(), Some(collapsed[0]));
    assert!(advisor.summary().unwrap().contains("do not use these weights"));
}

#[test]
fn a_lost_rank_is_a_collapse_unless_the_neighbours_improve() {
    let figures = |epoch: u64| Observation {
        output_std: Some(0.9),
        effective_rank: Some(if epoch < 10 { 60.0 } else { 15.0 }),
        ..Default::default()
    };
    let (advisor, said) = run(15, 1, figures);
    assert_eq!(advisor.verdict(), Verdict::Collapsing);
    assert!(said.last().unwrap().1.starts_with("epoch 10: collapsing: the effective rank fell to 15.0 from 60.0"));
    let (advisor, _) =
        run(15, 1, |epoch| Observation { knn_accuracy: Some(0.5 + 0.02 * epoch as f64), ..figures(epoch) });
    assert_eq!(advisor.verdict(), Verdict::Improving);
}

#[test]
fn a_loss_that_is_no_number_is_a_collapse() {
    let (_, said) = run(3, 1, |epoch| Observation {
        loss: if epoch == 2 { f64::NAN } else { 1.0 },
        output_std: Some(0.9),
        ..Default::default()
    });
    assert_eq!(said.len(), 1);
    assert!(said[0].0 == 2 && said[0].1.contains("diverged"), "{said:?}");
}

#[test]
fn a_falling_accuracy_is_past_its_best() {
    let (advisor, said) = run(40, 1, |epoch| Observation {
        knn_accuracy: Some(0.8 - 0.005 * (epoch as f64 - 12.0).abs()),
        ..Default::default()
    });
    assert_eq!(advisor.verdict(), Verdict::Declining);
    let last = &said.last().unwrap().1;
    assert!(last.contains("past its best: kNN accuracy fell to 0.775 from 0.800 at epoch 12"), "{last}");
    assert!(advisor.summary().unwrap().contains("best 0.800 at epoch 12"));
}

#[test]
fn without_labels_the_limits_are_said_and_the_loss_is_no_evidence() {
    let (_, said) = run(30, 1, |epoch| Observation {
        loss: 1.0 / epoch as f64,
        output_std: Some(0.9),
        effective_rank: Some(40.0),
        alignment: Some(0.3),
        uniformity: Some(rise(epoch, 2.0, -1.0, -3.0)),
        ..Default::default()
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].1.contains("still improving: alignment + uniformity -"), "{}", said[0].1);
    assert!(said[1].1.contains("done") && said[1].1.contains("Without labels"), "{}", said[1].1);

    let (advisor, said) = run(30, 1, |epoch| Observation { loss: 1.0 / epoch as f64, ..Default::default() });
    assert!(said.is_empty() && advisor.verdict() == Verdict::Open);
    let summary = advisor.summary().unwrap();
    assert!(summary.contains("too little was measured") && summary.contains("nothing but the loss"), "{summary}");
}

#[test]
fn an_advisor_that_saw_nothing_has_nothing_to_say() {
    assert_eq!(Advisor::new().summary(), None);
    assert_eq!(Advisor::new().verdict(), Verdict::Open);
}
