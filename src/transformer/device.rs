//! Where a transformer is trained: the choice that a user makes, and the engine that it stands for.

use std::fmt;
use std::str::FromStr;

use super::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

/// What to compute on. Every build knows all of them; opening one that it lacks says how to build it in.
///
/// ```
/// use foretap::transformer::Device;
/// assert_eq!("gpu".parse::<Device>().unwrap(), Device::Gpu);
/// assert!("tpu".parse::<Device>().unwrap_err().to_string().ends_with("choose one of cpu, flex, ndarray, gpu"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor, by this crate's own kernels.
    #[default]
    Cpu,
    /// The processor, by Burn in plain Rust.
    Flex,
    /// The processor, by Burn on the `ndarray` crate.
    NdArray,
    /// A graphics card, by Burn.
    Gpu,
}

impl Device {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Flex, Self::NdArray, Self::Gpu];

    /// Its name, as in `--device`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Gpu => "gpu",
        }
    }

    /// Makes it ready to compute.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]: this build lacks it, or the machine does.
    pub fn open(self) -> Result<Box<dyn Engine>> {
        match self {
            Self::Cpu => Ok(Box::new(super::NativeEngine::new())),
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Box::new(super::BurnEngine::flex())),
            #[cfg(not(feature = "flex"))]
            Self::Flex => self.missing("flex"),
            #[cfg(feature = "ndarray")]
            Self::NdArray => Ok(Box::new(super::BurnEngine::ndarray())),
            #[cfg(not(feature = "ndarray"))]
            Self::NdArray => self.missing("ndarray"),
            #[cfg(feature = "wgpu")]
            Self::Gpu => Ok(Box::new(super::BurnEngine::gpu()?)),
            #[cfg(not(feature = "wgpu"))]
            Self::Gpu => self.missing("wgpu"),
        }
    }

    /// The error of a build without `feature`.
    #[allow(dead_code)] // in a build that has every device
    fn missing(self, feature: &str) -> Result<Box<dyn Engine>> {
        Err(Error::new(ErrorKind::Device, format!("this build has no device `{self}`"))
            .next_step(format!("build it in: `cargo run --release --features {feature} ...`")))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|device| device.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{name}` is not a device"))
                .next_step(format!("choose one of {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}
