//! ONNX's messages, as far as the encoders need them: onnx.ai/onnx/repo-docs/IR.html and `onnx.proto3`.

use std::collections::{BTreeMap, BTreeSet};

use crate::protobuf::Message;
use crate::state::{StateDict, Values};

/// The version of the file format, and of the operators: those of ONNX 1.12, the first with layer normalisation.
const IR: u64 = 8;
const OPERATORS: u64 = 17;

/// Element types.
const F32: u64 = 1;
const I64: u64 = 7;

/// A property of an operator.
pub(super) enum Attribute<'a> {
    Float(f32),
    Int(i64),
    Ints(&'a [i64]),
}

/// A dimension of the graph's input or output.
pub(super) enum Dimension {
    /// Any length; those of the same name are alike.
    Any(&'static str),
    Of(usize),
}

/// A graph under construction. Values are known by their names.
pub(super) struct Graph<'a> {
    state: &'a StateDict,
    nodes: Vec<Message>,
    constants: Vec<Message>,
    taken: BTreeSet<String>,
}

impl<'a> Graph<'a> {
    /// One whose weights are those of `state`.
    pub(super) fn new(state: &'a StateDict) -> Self {
        Self { state, nodes: Vec::new(), constants: Vec::new(), taken: BTreeSet::new() }
    }

    /// Appends an operator; gives the name of what comes out.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let name = format!("{}_{}", operator.to_lowercase(), self.nodes.len());
        self.named(operator, inputs, attributes, &name);
        name
    }

    /// Appends the operator after which what comes out is called `name`.
    pub(super) fn named(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)], name: &str) {
        let mut node = inputs.iter().fold(Message::new(), |node, input| node.bytes(1, input));
        node = node.bytes(2, name).bytes(3, name).bytes(4, operator);
        for (name, value) in attributes {
            let attribute = Message::new().bytes(1, name);
            let attribute = match value {
                Attribute::Float(value) => attribute.float(2, *value).varint(20, 1),
                Attribute::Int(value) => attribute.varint(3, value.cast_unsigned()).varint(20, 2),
                Attribute::Ints(values) => {
                    values.iter().fold(attribute, |all, value| all.varint(8, value.cast_unsigned())).varint(20, 7)
                }
            };
            node = node.message(5, attribute);
        }
        self.nodes.push(node);
    }

    /// The shape of the array `name`.
    pub(super) fn shape(&self, name: &str) -> &'a [usize] {
        self.state.get(name).map_or(&[], |array| &array.shape)
    }

    /// Whether there is an array `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.state.contains_key(name)
    }

    /// The array `name`.
    pub(super) fn weight(&mut self, name: &str) -> String {
        self.floats(name, self.shape(name), &self.values(name))
    }

    /// The transpose of the matrix `name`.
    pub(super) fn transposed(&mut self, name: &str) -> String {
        let (values, shape) = (self.values(name), self.shape(name));
        let (rows, columns) = (shape[0], shape[1]);
        let turned: Vec<f32> =
            (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect();
        self.floats(name, &[columns, rows], &turned)
    }

    fn values(&self, name: &str) -> Vec<f32> {
        match self.state.get(name).map(|array| &array.values) {
            Some(Values::F32(values)) => values.clone(),
            Some(Values::I64(values)) => values.iter().map(|&value| value as f32).collect(),
            None => Vec::new(),
        }
    }

    /// Numbers that are no weights of the file.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, F32, &bytes)
    }

    /// A list of whole numbers, or one by itself.
    pub(super) fn ints(&mut self, name: &str, shape: &[usize], values: &[i64]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, I64, &bytes)
    }

    fn constant(&mut self, name: &str, shape: &[usize], kind: u64, bytes: &[u8]) -> String {
        if self.taken.insert(name.to_owned()) {
            let tensor = shape.iter().fold(Message::new(), |tensor, &length| tensor.varint(1, length as u64));
            self.constants.push(tensor.varint(2, kind).bytes(8, name).bytes(9, bytes));
        }
        name.to_owned()
    }

    /// The whole file: a graph from `input` to `output`, each a name, what it is, and its shape.
    pub(super) fn into_file(
        self,
        input: (&str, &str, &[Dimension]),
        output: (&str, &str, &[Dimension]),
        metadata: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        let graph = self.nodes.into_iter().fold(Message::new(), |graph, node| graph.message(1, node));
        let graph = self.constants.into_iter().fold(graph.bytes(2, "twinview"), |graph, one| graph.message(5, one));
        let graph = graph.message(11, value(input)).message(12, value(output));
        let model = Message::new().varint(1, IR).bytes(2, "twinview").bytes(3, env!("CARGO_PKG_VERSION"));
        let model = model.message(7, graph).message(8, Message::new().bytes(1, "").varint(2, OPERATORS));
        let entry = |(key, value): (&String, &String)| Message::new().bytes(1, key).bytes(2, value);
        metadata.iter().map(entry).fold(model, |model, entry| model.message(14, entry)).into_bytes()
    }
}

fn value((name, what, dimensions): (&str, &str, &[Dimension])) -> Message {
    let shape = dimensions.iter().fold(Message::new(), |shape, dimension| {
        let one = match dimension {
            Dimension::Of(length) => Message::new().varint(1, *length as u64),
            Dimension::Any(name) => Message::new().bytes(2, name),
        };
        shape.message(1, one)
    });
    let tensor = Message::new().varint(1, F32).message(2, shape);
    Message::new().bytes(1, name).message(2, Message::new().message(1, tensor)).bytes(3, what)
}
