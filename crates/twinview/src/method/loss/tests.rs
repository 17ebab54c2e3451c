//! What holds for the losses whatever the numbers.

use burn::tensor::{Device, Int, Tensor};

use super::*;

fn rows<const N: usize, const M: usize>(values: [[f32; M]; N]) -> Tensor<2> {
    Tensor::from_data(values, &Device::flex().autodiff())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }
}

#[test]
fn a_row_of_no_length_has_a_finite_gradient() {
    let first = rows([[0.0, 0.0], [1.0, 0.0]]).require_grad();
    let loss = nt_xent(first.clone(), rows([[1.0, 1.0], [0.5, 0.0]]), 0.1);
    let gradient = first.grad(&loss.backward()).unwrap();
    assert!(values(gradient).iter().all(|value| value.is_finite()));
    assert!(values(loss)[0].is_finite());
}

#[test]
fn alike_rows_cannot_be_told_apart() {
    let alike = rows([[0.3, 0.4]; 5]);
    near(&values(nt_xent(alike.clone(), alike.clone(), 0.5)), &[9.0_f32.ln()]);
    near(&values(contrast(alike.clone(), alike, 0.5)), &[5.0_f32.ln()]);
}

#[test]
fn the_nearest_has_the_largest_cosine_whatever_its_length() {
    let memory = rows([[9.0, 9.0], [0.0, 0.1], [-3.0, 4.0]]);
    let found = nearest_neighbours(rows([[0.1, 5.0], [-1.0, 1.0], [7.0, 6.0]]), memory);
    let half = 0.5_f32.sqrt();
    near(&values(found), &[0.0, 1.0, -0.6, 0.8, half, half]);
}

#[test]
fn codes_of_large_scores_are_finite_and_even() {
    let codes = sinkhorn(rows([[900.0, -900.0], [899.99, -900.0], [900.0, 700.0], [880.0, 700.0]]), 0.05, 50);
    near(&values(codes.clone().sum_dim(1)), &[1.0; 4]);
    let shares = values(codes.sum_dim(0));
    assert!(shares.iter().all(|share| (share - 2.0).abs() < 0.1), "{shares:?}");
}

#[test]
fn a_class_of_one_row_adds_nothing() {
    let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex().autodiff());
    near(&values(sup_con(rows([[1.0, 0.0], [0.5, 0.5]]), labels, 1, 0.1)), &[0.0]);
}
