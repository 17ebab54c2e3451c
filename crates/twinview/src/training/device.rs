//! Where networks run.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::{Error, Result};

/// Where networks run, as a user names it: `cpu`, `gpu`, or `gpu:1` for the second.
///
/// ```
/// use twinview::training::DeviceName;
///
/// assert_eq!("gpu".parse(), Ok(DeviceName::Gpu(0)));
/// assert_eq!(DeviceName::Gpu(1).to_string(), "gpu:1");
/// assert!("gpu:last".parse::<DeviceName>().is_err());
/// # DeviceName::Cpu.open()?;
/// # Ok::<(), twinview::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor, with fused kernels.
    #[default]
    Cpu,
    /// A graphics processor, by its number from 0, with Burn's own kernels. Needs the feature `wgpu`.
    Gpu(usize),
}

impl DeviceName {
    /// The device, ready to train.
    ///
    /// # Errors
    /// When there is no such device, or the program was built without the feature `wgpu`.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Gpu(index) => gpu(index),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let number = match name {
            "cpu" => return Ok(Self::Cpu),
            "gpu" => "0",
            _ => name.strip_prefix("gpu:").unwrap_or_default(),
        };
        // `parse` would take a sign too.
        let number = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()));
        number.map(Self::Gpu).ok_or_else(|| "expected cpu, gpu, or gpu:1 for the second of several".to_owned())
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Gpu(index) => write!(formatter, "gpu:{index}"),
        }
    }
}

/// The processor, ready to train.
pub fn cpu() -> Device {
    Device::flex().autodiff()
}

/// Whether `device` is the processor.
pub(crate) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(feature = "wgpu")]
fn gpu(index: usize) -> Result<Device> {
    use burn::tensor::DeviceType;

    let found = Device::enumerate(DeviceType::Wgpu).into_vec();
    if let Some(device) = found.get(index) {
        return Ok(device.clone().autodiff());
    }
    let there: Vec<String> =
        found.iter().enumerate().map(|(index, device)| format!("gpu:{index} is {}", name_of(device))).collect();
    Err(Error::Config(match there.is_empty() {
        true => {
            "no graphics processor was found; is its driver installed, with Vulkan, Metal or DirectX 12? Leave out \
                 --device to use the processor"
                .to_owned()
        }
        false => format!("there is no gpu:{index}: {}", there.join(", ")),
    }))
}

#[cfg(not(feature = "wgpu"))]
fn gpu(_index: usize) -> Result<Device> {
    Err(Error::Config(
        "this program was built for the processor alone. Build it with cargo build --release --features wgpu, or leave \
         out --device"
            .to_owned(),
    ))
}

/// What `device` calls itself, such as `NVIDIA H100`; `cpu` for the processor.
pub fn name_of(device: &Device) -> String {
    #[cfg(feature = "wgpu")]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    if is_cpu(device) { "cpu".to_owned() } else { format!("{device:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [DeviceName::Cpu, DeviceName::Gpu(0), DeviceName::Gpu(12)] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for wrong in ["", "GPU", "gpu:", "gpu:-1", "gpu:+1", "cuda", "cpu:0", "gpu:1.5", "gpu1"] {
            assert!(wrong.parse::<DeviceName>().unwrap_err().contains("expected cpu"), "{wrong}");
        }
    }

    #[test]
    fn the_processor_is_always_there() {
        let device = DeviceName::Cpu.open().unwrap();
        assert!(is_cpu(&device) && device.is_autodiff());
        assert_eq!(name_of(&device), "cpu");
    }

    #[test]
    fn a_graphics_processor_that_is_not_there_is_an_error_that_says_what_to_do() {
        let message = DeviceName::Gpu(99).open().unwrap_err().to_string();
        assert!(message.contains("--device") || message.contains("gpu:0 is"), "{message}");
    }
}
