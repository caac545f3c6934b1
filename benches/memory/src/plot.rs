//! Plots of the figures in the tables.

use plotters::{
    coord::{Shift, ranged1d::IntoSegmentedCoord as _},
    prelude::*,
};

use crate::{
    hit_rate::{CACHES, PERCENT, Rates},
    images::{self, COLOURS},
};

const COLUMNS: usize = 4;
const PANEL: (u32, u32) = (280, 230);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a panel for each trace that was run with every size.
pub(crate) fn hit_rates(all: &[Rates]) {
    let Some(path) = images::path("memory-hit-rate.svg") else {
        return;
    };
    let shown: Vec<&Rates> = all
        .iter()
        .filter(|rates| rates.by_size.len() == PERCENT.len())
        .collect();
    let rows = shown.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32 + 30);
    let area = SVGBackend::new(&path, size).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let (legend, panels) = area.split_vertically(30);
    for (at, (name, colour)) in CACHES.iter().zip(COLOURS).enumerate() {
        let x = 20 + 150 * at as i32;
        let stroke = PathElement::new([(x, 15), (x + 20, 15)], colour.stroke_width(2));
        legend.draw(&stroke).unwrap();
        let text = Text::new(*name, (x + 26, 9), ("sans-serif", 13));
        legend.draw(&text).unwrap();
    }
    for (panel, rates) in panels.split_evenly((rows, COLUMNS)).iter().zip(shown) {
        hit_rate(panel, rates);
    }
    area.present().unwrap();
}

fn hit_rate(panel: &Area<'_>, rates: &Rates) {
    let mut chart = ChartBuilder::on(panel)
        .caption(rates.trace, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(34)
        .build_cartesian_2d((0..PERCENT.len() - 1).into_segmented(), 0.0..100.0)
        .unwrap();
    let label = |place: &SegmentValue<usize>| match place {
        SegmentValue::Exact(at) | SegmentValue::CenterOf(at) => format!("{} %", PERCENT[*at]),
        SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .x_desc("entries, of the trace's keys")
        .y_labels(6)
        .x_label_formatter(&label)
        .draw()
        .unwrap();
    // The first cache is drawn last, so that no other line covers it.
    for (cache, colour) in COLOURS.iter().enumerate().rev() {
        let points = rates.by_size.iter().enumerate();
        let points = points.map(|(at, (_, rates))| (SegmentValue::CenterOf(at), rates[cache]));
        let line = LineSeries::new(points, colour.stroke_width(2)).point_size(2);
        chart.draw_series(line).unwrap();
    }
}

/// Draws one bar for each name. On a logarithmic scale the bars begin at `floor`.
pub(crate) fn bars(file: &str, title: &str, values: &[(String, f64)], floor: Option<f64>) {
    let Some(path) = images::path(file) else { return };
    let (width, bar, left) = (700, 34, 230);
    let size = (width, 60 + bar * values.len() as u32);
    let area = SVGBackend::new(&path, size).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let title = Text::new(title, (16, 12), ("sans-serif", 17));
    area.draw(&title).unwrap();
    let scale = |value: f64| floor.map_or(value, |floor| (value / floor).log10().max(0.0));
    let most = values
        .iter()
        .map(|(_, value)| scale(*value))
        .fold(f64::MIN_POSITIVE, f64::max);
    for (at, (name, value)) in values.iter().enumerate() {
        let top = 44 + bar as i32 * at as i32;
        let length = (scale(*value) / most * f64::from(width - left - 90)) as i32;
        let colour = if name.starts_with("codex-memory") {
            COLOURS[0]
        } else {
            COLOURS[2]
        };
        let corners = [(left as i32, top), (left as i32 + length, top + bar as i32 - 10)];
        area.draw(&Rectangle::new(corners, colour.filled())).unwrap();
        let text = ("sans-serif", 14).into_font();
        area.draw(&Text::new(name.as_str(), (16, top + 5), text.clone()))
            .unwrap();
        let figure = if *value < 10.0 {
            format!("{value:.2}")
        } else {
            format!("{value:.0}")
        };
        area.draw(&Text::new(figure, (left as i32 + length + 6, top + 5), text))
            .unwrap();
    }
    area.present().unwrap();
}
