#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lmnet::sweep {

using Line = std::vector<std::pair<double, double>>;

/// A line with a name, and thin lines that it is the mean of.
struct Series {
  std::string name;
  Line mean;
  std::vector<Line> parts;
};

/// A plot as SVG text, for a page that has its styles: axes from 0 (x) and the smallest value (y) with round numbers,
/// the largest y being what lines reach after a tenth of the way, so that a steep beginning does not flatten the rest.
/// `mark`: a dashed line at this x.
std::string plot_svg(const std::string& x_label, const std::string& y_label, const std::vector<Series>& series,
                     std::optional<double> mark);

/// Of series number `index`: eight colours that the colour-blind can tell apart, then again with dashes.
std::string color_of_series(size_t index);

/// Text as it may stand in HTML.
std::string escaped(const std::string& text);

/// Round numbers from `from` to `to`, about `count` of them.
std::vector<double> ticks(double from, double to, int count);

}  // namespace lmnet::sweep
