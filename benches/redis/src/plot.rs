//! Plots of the figures in the tables.

use std::path::Path;

use plotters::{
    coord::{
        Shift,
        ranged1d::{IntoSegmentedCoord as _, SegmentedCoord},
        types::RangedCoordusize,
    },
    prelude::*,
};

use crate::{
    Workers,
    images::{self, COLOURS},
    throughput::{CLIENTS, PERCENTILES},
};

/// The medians of one row of a table, by client.
pub(crate) struct Cell {
    pub(crate) verb: &'static str,
    pub(crate) tasks: usize,
    pub(crate) micros: u64,
    /// Operations per second.
    pub(crate) speeds: Vec<f64>,
    /// Milliseconds, by [`PERCENTILES`].
    pub(crate) latencies: Vec<[f64; PERCENTILES.len()]>,
}

const SIZE: (u32, u32) = (1000, 420);
const TASKS_OF_LATENCIES: usize = 64;

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<SegmentedCoord<RangedCoordusize>, Y>>;

pub(crate) fn draw(workers: Workers, cells: &[Cell]) {
    let idle: Vec<&Cell> = cells.iter().filter(|cell| cell.micros == 0).collect();
    let path = |what: &str| images::path(&format!("redis-{what}-{}.svg", workers.name()));
    if let Some(path) = path("throughput") {
        both(&path, &|panel, verb| throughput(panel, workers, verb, &idle));
    }
    if let Some(path) = path("latency") {
        both(&path, &|panel, verb| latency(panel, workers, verb, &idle));
    }
}

/// Draws GET on the left and SET EX on the right.
fn both(path: &Path, panel: &dyn Fn(&Panel<'_>, &str)) {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    panel(&left, "GET");
    panel(&right, "SET EX");
    area.present().unwrap();
}

fn throughput(panel: &Panel<'_>, workers: Workers, verb: &str, cells: &[&Cell]) {
    let cells: Vec<&&Cell> = cells.iter().filter(|cell| cell.verb == verb).collect();
    let tasks: Vec<usize> = cells.iter().map(|cell| cell.tasks).collect();
    let most = cells.iter().flat_map(|cell| &cell.speeds).copied().fold(1.0, f64::max) / 1e3;
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{verb}, {}", workers.title()), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((0..tasks.len().saturating_sub(1)).into_segmented(), 0.0..most * 1.1)
        .unwrap();
    chart
        .configure_mesh()
        .x_desc("tasks")
        .y_desc("thousand operations per second")
        .x_label_formatter(&|place| label(place, &tasks))
        .draw()
        .unwrap();
    lines(&mut chart, |client| {
        cells.iter().map(|cell| cell.speeds[client] / 1e3).collect()
    });
}

fn latency(panel: &Panel<'_>, workers: Workers, verb: &str, cells: &[&Cell]) {
    let is_shown = |cell: &&&Cell| cell.verb == verb && cell.tasks == TASKS_OF_LATENCIES;
    let Some(cell) = cells.iter().find(is_shown) else {
        return;
    };
    let times = || cell.latencies.iter().flatten().copied();
    let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(0.01, f64::max));
    let mut chart = ChartBuilder::on(panel)
        .caption(
            format!("{verb}, {} tasks, {}", cell.tasks, workers.title()),
            ("sans-serif", 18),
        )
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (0..PERCENTILES.len() - 1).into_segmented(),
            (least * 0.7..most * 1.5).log_scale(),
        )
        .unwrap();
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("milliseconds per call")
        .x_label_formatter(&|place| label(place, &PERCENTILES))
        .draw()
        .unwrap();
    lines(&mut chart, |client| cell.latencies[client].to_vec());
}

/// Draws a line for each client through its values, and the legend.
fn lines<'a, Y>(chart: &mut Chart<'a, Y>, values: impl Fn(usize) -> Vec<f64>)
where
    Y: Ranged<ValueType = f64> + 'static,
{
    for (client, (name, colour)) in CLIENTS.iter().zip(COLOURS).enumerate() {
        let points = values(client).into_iter().enumerate();
        let points = points.map(|(at, value)| (SegmentValue::CenterOf(at), value));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))
            .unwrap()
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .unwrap();
}

fn label<T: ToString>(place: &SegmentValue<usize>, names: &[T]) -> String {
    match place {
        SegmentValue::Exact(at) | SegmentValue::CenterOf(at) => names.get(*at).map(T::to_string).unwrap_or_default(),
        SegmentValue::Last => String::new(),
    }
}
