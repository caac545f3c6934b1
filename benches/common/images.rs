//! Plots as SVG in the folder that BENCH_IMAGES names.

use std::{env, fs, path::PathBuf};

use plotters::style::RGBColor;

/// A palette whose colours readers with colour blindness can tell apart (Okabe and Ito).
pub(crate) const COLOURS: [RGBColor; 5] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 0, 0),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
];

/// Returns the path of a plot, or `None` if no plots are wanted.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("BENCH_IMAGES")?);
    // Drawing the plot reports a folder that could not be created.
    let _ = fs::create_dir_all(&folder);
    Some(folder.join(name))
}
