//! Drives the program as its users do: arguments and files in; exit code, text and files out.
//!
//! Every test has a folder of its own, which is home and cache to the program too, and brings its own small
//! dataset, so that no network and no installed data are needed.

mod bad_data;
mod bad_settings;
mod bad_weights;
mod help;
mod methods;
mod output;
mod pages;
mod pictures;
mod results;
mod support;
mod tracking;
mod weights;

#[cfg(unix)]
mod backbones;
#[cfg(unix)]
mod interruption;
#[cfg(unix)]
mod reproduce;
#[cfg(unix)]
mod writing;
