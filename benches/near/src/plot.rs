//! A plot of the load.

use plotters::{
    coord::{Shift, ranged1d::IntoSegmentedCoord as _},
    prelude::*,
};

use crate::{
    images::{self, COLOURS},
    load::Row,
};

const SIZE: (u32, u32) = (1000, 320);

const OURS: RGBColor = COLOURS[0];
const OTHERS: RGBColor = COLOURS[3];

pub(crate) fn draw(rows: &[Row]) {
    let Some(path) = images::path("near-load.svg") else {
        return;
    };
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
