//! Agreement with lightly and the papers' formulas, on `golden/method/losses.safetensors`; `make.py` beside it
//! says what is in it.

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::*;

/// Largest difference allowed, as a share of the largest value of a tensor.
const TOLERANCE: f32 = 1e-5;

fn bytes() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/method/losses.safetensors")).unwrap()
}

/// One case: its inputs, and what must come out.
struct Case<'a> {
    file: &'a SafeTensors<'a>,
    /// `LOSS/NUMBER`.
    name: String,
    device: Device,
    /// The inputs asked for: leaves whose gradients are checked.
    leaves: std::cell::RefCell<Vec<(String, Tensor<2>)>>,
}

impl<'a> Case<'a> {
    fn view(&self, name: &str) -> Option<TensorView<'a>> {
        self.file.tensor(&format!("{}/{name}", self.name)).ok()
    }

    fn values(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let view = self.view(name).unwrap_or_else(|| panic!("{} has no {name}", self.name));
        assert_eq!(view.dtype(), Dtype::F32);
        let values = view.data().as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        (values, view.shape().to_vec())
    }

    fn number(&self, name: &str) -> f64 {
        f64::from_le_bytes(self.view(name).unwrap().data().try_into().unwrap())
    }

    fn count(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    /// An input with a history: not a leaf itself, so that what the loss detaches is cut off from its leaf.
    fn input(&self, name: &str) -> Tensor<2> {
        let (values, shape) = self.values(name);
        let leaf = Tensor::from_data(TensorData::new(values, shape), &self.device).require_grad();
        self.leaves.borrow_mut().push((name.to_owned(), leaf.clone()));
        leaf.mul_scalar(1.0)
    }

    /// The inputs `NAME-0`, `NAME-1` and so on.
    fn inputs(&self, name: &str) -> Vec<Tensor<2>> {
        (0..)
            .map(|number| format!("{name}-{number}"))
            .take_while(|name| self.view(name).is_some())
            .map(|name| self.input(&name))
            .collect()
    }

    fn labels(&self) -> Tensor<1, Int> {
        let (values, shape) = self.values("labels");
        let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Compares with the tensor `name`.
    fn compare<const D: usize>(&self, found: Tensor<D>, name: &str) {
        let (expected, shape) = self.values(name);
        assert_eq!(found.dims().to_vec(), shape, "{}/{name}", self.name);
        let found = found.into_data().try_to_vec::<f32>().unwrap();
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let worst = found.iter().zip(&expected).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / largest;
        println!("WORST {worst:e} {}/{name}", self.name);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (found - expected).abs() <= TOLERANCE * largest,
                "{}/{name}[{index}]: {found}, expected {expected}",
                self.name
            );
        }
    }

    /// Compares the gradient of `loss` with respect to every input; one without a golden gradient is a target.
    fn compare_gradients(&self, loss: &Tensor<1>) {
        let gradients = loss.backward();
        for (name, leaf) in self.leaves.borrow().iter() {
            let gradient = leaf.grad(&gradients);
            let expected = format!("gradient/{name}");
            match gradient {
                Some(gradient) => self.compare(gradient.inner(), &expected),
                None => assert!(self.view(&expected).is_none(), "{}: no {expected}", self.name),
            }
        }
    }
}

/// Runs `check` on every case of `loss`.
fn each(loss: &str, check: impl Fn(&Case)) {
    let bytes = bytes();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut cases = 0;
    loop {
        let name = format!("{loss}/{cases}");
        if !file.names().iter().any(|tensor| tensor.starts_with(&format!("{name}/"))) {
            break;
        }
        check(&Case { file: &file, name, device: Device::flex().autodiff(), leaves: Vec::new().into() });
        cases += 1;
    }
    assert!(cases > 0, "no case of {loss}");
}

/// Checks value and gradients of a loss in every case.
fn check(loss: &str, make: impl Fn(&Case) -> Tensor<1>) {
    each(loss, |case| {
        let loss = make(case);
        case.compare(loss.clone().inner(), "loss");
        case.compare_gradients(&loss);
    });
}

#[test]
fn nt_xent_is_lightlys() {
    check("nt_xent", |case| nt_xent(case.input("first"), case.input("second"), case.number("temperature")));
}

#[test]
fn info_nce_is_lightlys() {
    check("info_nce", |case| {
        let negatives = case.input("negatives");
        info_nce(case.input("queries"), case.input("keys"), negatives, case.number("temperature"))
    });
}

#[test]
fn contrast_is_the_papers() {
    check("contrast", |case| contrast(case.input("queries"), case.input("keys"), case.number("temperature")));
}

#[test]
fn dcl_is_lightlys() {
    check("dcl", |case| {
        let sigma = case.view("sigma").map(|_| case.number("sigma"));
        dcl(case.input("first"), case.input("second"), case.number("temperature"), sigma)
    });
}

#[test]
fn sup_con_is_the_papers() {
    check("sup_con", |case| {
        sup_con(case.input("rows"), case.labels(), case.count("views"), case.number("temperature"))
    });
}

#[test]
fn barlow_twins_is_lightlys() {
    check("barlow_twins", |case| barlow_twins(case.input("first"), case.input("second"), case.number("lambda")));
}

#[test]
fn vicreg_is_the_papers() {
    check("vicreg", |case| {
        let weights = VicRegWeights {
            invariance: case.number("invariance"),
            variance: case.number("variance"),
            covariance: case.number("covariance"),
        };
        vicreg(case.input("first"), case.input("second"), weights)
    });
}

#[test]
fn nearest_neighbours_are_lightlys() {
    each("nearest_neighbours", |case| {
        let found = nearest_neighbours(case.input("queries"), case.input("memory"));
        assert!(!found.is_tracked());
        case.compare(found.inner(), "neighbours");
    });
}

#[test]
fn nnclr_is_the_papers() {
    check("nnclr", |case| nnclr(case.input("neighbours"), case.input("predictions"), case.number("temperature")));
}

#[test]
fn sinkhorn_is_lightlys() {
    each("sinkhorn", |case| {
        let codes = sinkhorn(case.input("scores"), case.number("epsilon"), case.count("iterations"));
        assert!(!codes.is_tracked());
        case.compare(codes.inner(), "codes");
    });
}

#[test]
fn swapped_prediction_is_lightlys() {
    check("swapped_prediction", |case| {
        let (scores, assigned) = (case.inputs("scores"), case.count("assigned"));
        let (epsilon, iterations) = (case.number("epsilon"), case.count("iterations"));
        swapped_prediction(&scores, assigned, case.number("temperature"), epsilon, iterations)
    });
}

#[test]
fn dino_is_lightlys() {
    check("dino", |case| {
        let (teacher, student, center) = (case.inputs("teacher"), case.inputs("student"), case.input("center"));
        let next = dino_center(center.clone(), &teacher, case.number("momentum"));
        assert!(!next.is_tracked());
        case.compare(next.inner(), "next-center");
        dino(&teacher, &student, center, case.number("teacher_temperature"), case.number("student_temperature"))
    });
}

#[test]
fn zz_time() {
    let device = Device::flex().autodiff();
    let draw = |n: usize, m: usize| Tensor::<2>::random([n, m], burn::tensor::Distribution::Normal(0.0, 1.0), &device);
    let (a, b, m) = (draw(512, 128).require_grad(), draw(512, 128), draw(4096, 128));
    let (wa, wb) = (draw(512, 1024).require_grad(), draw(512, 1024));
    let run = |name: &str, make: &dyn Fn() -> Tensor<1>| {
        for _ in 0..3 {
            let start = std::time::Instant::now();
            let loss = make();
            let forward = start.elapsed();
            let _ = loss.backward();
            println!("TIME {name} forward {forward:?} all {:?}", start.elapsed());
        }
    };
    run("nt_xent", &|| nt_xent(a.clone(), b.clone(), 0.1));
    run("dcl", &|| dcl(a.clone(), b.clone(), 0.1, None));
    run("info_nce", &|| info_nce(a.clone(), b.clone(), m.clone(), 0.1));
    run("contrast", &|| contrast(a.clone(), b.clone(), 0.1));
    run("barlow", &|| barlow_twins(wa.clone(), wb.clone(), 0.1));
    run("vicreg", &|| vicreg(wa.clone(), wb.clone(), VicRegWeights::default()));
    run("swav", &|| swapped_prediction(&[wa.clone(), wb.clone()], 2, 0.1, 0.05, 3));
    run("dino", &|| dino(&[wb.clone(), wb.clone()], &[wa.clone(), wb.clone()], draw(1, 1024), 0.04, 0.1));
}
