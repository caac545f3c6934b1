//! Line charts as SVG.

use std::{fmt::Write as _, time::Duration};

const COLOURS: [&str; 3] = ["#2a78c2", "#d9822b", "#b83280"];

/// The size of a chart, including its margins.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 230.0;
/// The plot area within a chart.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 440.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 190.0;

pub(crate) struct Line {
    name: &'static str,
    values: Vec<f64>,
}

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) lines: Vec<Line>,
}

impl Line {
    pub(crate) fn new(name: &'static str, values: Vec<f64>) -> Self {
        Self { name, values }
    }
}

/// Draws charts in two columns. The time axis of each ends now and covers `span`.
pub(crate) fn page(charts: &[Chart], span: Duration) -> String {
    let height = HEIGHT * f64::from(u32::try_from(charts.len().div_ceil(2)).unwrap_or(u32::MAX));
    let width = 2.0 * WIDTH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut y = 0.0;
    for row in charts.chunks(2) {
        for (chart, x) in row.iter().zip([0.0, WIDTH]) {
            let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
            chart.draw(&mut svg, span);
            svg += "</g>\n";
        }
        y += HEIGHT;
    }
    svg + "</svg>\n"
}

impl Chart {
    fn draw(&self, svg: &mut String, span: Duration) {
        let values = self.lines.iter().flat_map(|line| &line.values);
        let top = round_up(values.copied().fold(0.0, f64::max));
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>",
            self.title
        );
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            let y = BOTTOM - (BOTTOM - TOP) * share;
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y}H{RIGHT}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}{}</text>",
                LEFT - 6.0,
                y + 4.0,
                top * share,
                self.unit
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{y}\">{} s ago</text><text x=\"{RIGHT}\" y=\"{y}\" text-anchor=\"end\">now</text>",
            span.as_secs(),
            y = BOTTOM + 17.0
        );
        let mut legend = LEFT;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let _ = writeln!(
                svg,
                "<rect x=\"{legend}\" y=\"33\" width=\"10\" height=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"40\">{}</text>",
                legend + 14.0,
                line.name
            );
            legend += 110.0;
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                line.points(top)
            );
        }
    }
}

impl Line {
    fn points(&self, top: f64) -> String {
        let steps = f64::from(u32::try_from(self.values.len().max(2) - 1).unwrap_or(u32::MAX));
        let mut points = String::new();
        let mut x = LEFT;
        for value in &self.values {
            // A ratio of two rates is not a number while nothing is counted.
            if value.is_finite() {
                let y = BOTTOM - (BOTTOM - TOP) * value / top;
                let _ = write!(points, "{x:.1},{y:.1} ");
            }
            x += (RIGHT - LEFT) / steps;
        }
        points
    }
}

/// Returns the smallest of 1, 2, 4, 10, 20, 40, … that is not below `value`.
fn round_up(value: f64) -> f64 {
    let mut top = 1.0;
    loop {
        for factor in [1.0, 2.0, 4.0] {
            if top * factor >= value {
                return top * factor;
            }
        }
        top *= 10.0;
    }
}
