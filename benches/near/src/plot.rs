//! A plot of the load as SVG in the folder that BENCH_IMAGES names.

use std::{env, path::Path};

use plotters::{
    coord::{Shift, ranged1d::IntoSegmentedCoord as _},
    prelude::*,
};

use crate::load::Row;

const SIZE: (u32, u32) = (1000, 320);

/// A colour of the palette of Okabe and Ito for ours, and one for the others.
const OURS: RGBColor = RGBColor(213, 94, 0);
const OTHERS: RGBColor = RGBColor(86, 180, 233);

pub(crate) fn draw(rows: &[Row]) {
    let Ok(folder) = env::var("BENCH_IMAGES") else { return };
    let path = Path::new(&folder).join("near-load.svg");
    let area = SVGBackend::new(&path, SIZE).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let speeds: Vec<f64> = rows.iter().map(|row| row.per_second / 1e3).collect();
    bars(&left, "thousand operations per second", rows, &speeds);
    let times: Vec<f64> = rows.iter().map(|row| row.server).collect();
    bars(&right, "server's processor time per operation, µs", rows, &times);
    area.present().unwrap();
}

fn bars(panel: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, rows: &[Row], values: &[f64]) {
    let most = values.iter().copied().fold(0.0, f64::max);
    // The first row is at the top.
    let place = |row: usize| rows.len() - 1 - row;
    let name = |row: &Row| row.name.replace('`', "");
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(170)
        .build_cartesian_2d(0.0..most * 1.1, (0..rows.len() - 1).into_segmented())
        .unwrap();
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_label_formatter(&|at| match at {
            SegmentValue::Exact(at) | SegmentValue::CenterOf(at) => rows.get(place(*at)).map(name).unwrap_or_default(),
            SegmentValue::Last => String::new(),
        })
        .draw()
        .unwrap();
    let series = values.iter().enumerate().map(|(row, value)| {
        let at = place(row);
        let colour = if rows[row].name == "`NearBackend`" {
            OURS
        } else {
            OTHERS
        };
        let corners = [(0.0, SegmentValue::Exact(at)), (*value, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, colour.filled());
        bar.set_margin(6, 6, 0, 0);
        bar
    });
    chart.draw_series(series).unwrap();
}
