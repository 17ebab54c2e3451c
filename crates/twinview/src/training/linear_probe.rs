//! Logistic regression on a frozen backbone.

use super::calibrate;
use super::supervised::check_fits;
use crate::backbone::{load_state_dict, state_dict};
use crate::dataset::{Images, Split};
use crate::embedding::{Matrix, extract};
use crate::evaluation::{Choice, CrossValidation, LogisticRegression};
use crate::method::{Classifier, Head};
use crate::state::Array;
use crate::{Error, Result};

/// `model` with its linear head fitted to `labelled` by logistic regression on the features of its backbone; and the penalty
/// that was chosen by cross-validation on `labelled` alone. No weight of the backbone moves. Its BatchNorm first takes the
/// statistics of `unlabelled`, as [`calibrate`] tells; they come from the same source as `labelled`, and there are more.
///
/// # Errors
/// When the head of `model` is not linear, or the images do not fit the model.
pub fn fit_linear_head(
    model: Classifier,
    unlabelled: &Images,
    labelled: &Split,
    seed: u64,
) -> Result<(Classifier, Choice)> {
    let Head::Linear(_) = &model.fc else {
        return Err(Error::Config("logistic regression gives a linear head, and this model has a hidden layer".into()));
    };
    check_fits(&model, &labelled.images)?;
    calibrate(&model.backbone, unlabelled, seed)?;
    let (features, classes) = (extract(&model.backbone, &labelled.images)?, model.fc.classes());
    let features = Matrix::new(features.values(), features.dimensions())?;
    let validation = CrossValidation { seed, ..CrossValidation::default() };
    // BatchNorm has brought the features to one scale. Standardising each again would blow up those that hardly vary.
    let regression = LogisticRegression { standardize: false, ..LogisticRegression::default() };
    let choice = validation.choose(&regression, features, &labelled.labels, classes)?;
    let regression = LogisticRegression { c: choice.c, ..regression };
    let (weights, intercepts) = regression.fit(features, &labelled.labels, classes)?.linear_layer();
    let mut state = state_dict(&model);
    state.insert("fc.weight".to_owned(), Array::f32([classes, features.columns()], weights));
    state.insert("fc.bias".to_owned(), Array::f32([classes], intercepts));
    Ok((load_state_dict(model, &state)?, choice))
}
