//! Commands that show runs.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::shared::{DataArgs, DeviceArgs, SplitName};

#[derive(Args)]
pub(crate) struct PageArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Which images to show [default: test for classifiers and experiments that are over, pool otherwise]
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitName>,
    /// A classifier to set beside the run's; repeat for more
    #[arg(long = "control", value_name = "RUN")]
    pub(crate) controls: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Run directories
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    pub(crate) runs: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE", default_value = "compare.html")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct WatchArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Port; 0 for any that is free
    #[arg(long, default_value_t = 6680)]
    pub(crate) port: u16,
    /// Address to listen on. Others than 127.0.0.1 and ::1 let other machines read the run
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
}
