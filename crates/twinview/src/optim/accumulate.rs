//! Gradients of several batches for one update.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

/// The sum of the gradients that wait for an update.
#[derive(Default)]
pub struct Accumulator(Option<Gradients>);

impl Accumulator {
    /// Adds `gradients` of `model`, which must not have moved since the first ones.
    pub fn add<M: Module>(&mut self, model: &M, gradients: Gradients) {
        match &mut self.0 {
            None => self.0 = Some(gradients),
            Some(sum) => model.visit(&mut Addition { sum, gradients }),
        }
    }

    /// The sum, and none of it stays; nothing where nothing was added.
    pub fn take(&mut self) -> Option<Gradients> {
        self.0.take()
    }
}

struct Addition<'a> {
    sum: &'a mut Gradients,
    gradients: Gradients,
}

impl ModuleVisitor for Addition<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if let Some(gradient) = tensor.grad_remove(&mut self.gradients) {
            let sum = match tensor.grad_remove(self.sum) {
                Some(sum) => sum.add(gradient),
                None => gradient,
            };
            tensor.grad_replace(self.sum, sum);
        }
    }
}
