//! A small bundle whose models know nothing: random numbers, which rank apps as well as any for a test of the border.

#![allow(clippy::unwrap_used)] // a failed step is a failed test
#![allow(dead_code)] // each suite uses a part

use foretap::bundle::{Bundle, BundleContents};
use foretap::context::Task;
use foretap::context::features::SCHEMA;
use foretap::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};
use foretap::network::{Standardisation, TensorSpec, TransformerConfig, WeightLayout};
use foretap::quantize::{Description, QuantizedModel, QuantizedTensor, QuantizedTrees, TensorEncoding};
use foretap::router::RouterModel;

/// Numbers that look random, by Knuth's linear congruential generator.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> i8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as i8
    }

    /// -1 to 1.
    fn number(&mut self) -> f32 {
        f32::from(self.byte()) / 128.0
    }
}

/// A bundle with a student that knows `apps`.
pub fn with_student(apps: &[&str]) -> Bundle {
    let apps: Vec<String> = apps.iter().map(|&app| app.to_owned()).collect();
    let config = TransformerConfig::student(Task::FirstAfterUnlock, apps.len());
    let mut random = Random(1);
    let tensors = WeightLayout::new(&config).tensors.iter().map(|spec| tensor(spec, &mut random)).collect();
    let columns = Standardisation::none(&config);
    let description = Description { config, apps: apps.clone(), temperature: 1.5, columns };
    let student = QuantizedModel::new(description, tensors).unwrap();
    Bundle::new(BundleContents { apps, student: Some(student), ..BundleContents::default() }).unwrap()
}

/// A bundle with trees alone: one, which asks one feature.
pub fn with_trees(apps: &[&str]) -> Bundle {
    let split = SplitNode {
        feature: 0,
        test: SplitCondition::Threshold(0.5),
        missing_left: true,
        gain: 1.0,
        left: Child::Leaf(0),
        right: Child::Leaf(1),
    };
    let tree = Tree { splits: vec![split], leaf_values: vec![-0.5, 0.5], leaf_cover: vec![1.0, 1.0] };
    let features = SCHEMA.iter().map(|feature| feature.name.to_owned()).collect();
    let ensemble = Ensemble { features, ..Ensemble::new(vec![tree], SCHEMA.len()) };
    let trees = Some((QuantizedTrees::new(&ensemble).unwrap(), 1.0));
    let apps = apps.iter().map(|&app| app.to_owned()).collect();
    Bundle::new(BundleContents { apps, trees, ..BundleContents::default() }).unwrap()
}

/// A bundle with both, and a router between them.
pub fn with_both(apps: &[&str]) -> Bundle {
    let BundleContents { trees, .. } = with_trees(apps).parts().clone();
    let router = Some(RouterModel::unfitted([1.0, 1.5]).unwrap());
    Bundle::new(BundleContents { trees, router, ..with_student(apps).parts().clone() }).unwrap()
}

fn tensor(spec: &TensorSpec, random: &mut Random) -> QuantizedTensor {
    let numbers = spec.range.len();
    let scales = |count| vec![0.002; count];
    let mut bytes = || (0..numbers).map(|_| random.byte().max(-127)).collect();
    match TensorEncoding::of(spec) {
        TensorEncoding::PerRow => {
            QuantizedTensor { values: bytes(), scales: scales(spec.shape[0]), ..Default::default() }
        }
        TensorEncoding::PerColumn => {
            QuantizedTensor { values: bytes(), scales: scales(spec.shape[1]), ..Default::default() }
        }
        TensorEncoding::Float => {
            QuantizedTensor { floats: (0..numbers).map(|_| random.number()).collect(), ..Default::default() }
        }
    }
}
