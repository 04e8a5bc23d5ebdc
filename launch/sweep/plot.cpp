#include "launch/sweep/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "trainer/describe.h"

namespace lmnet::sweep {
namespace {

constexpr double kWidth = 640, kHeight = 380, kLeft = 64, kRight = 16, kTop = 12, kBottom = 48;

/// From values to places in the picture.
struct Frame {
  double x_end = 1, y_begin = 0, y_end = 1;

  double x(double value) const { return kLeft + value / x_end * (kWidth - kLeft - kRight); }
  double y(double value) const {
    return kHeight - kBottom - (value - y_begin) / (y_end - y_begin) * (kHeight - kTop - kBottom);
  }
};

template <class Take>
void for_each_line(const std::vector<Series>& series, const Take& take) {
  for (const Series& one : series) {
    take(one.mean);
    for (const Line& part : one.parts) take(part);
  }
}

Frame frame_of(const std::vector<Series>& series) {
  Frame frame;
  double x_end = 0, low = std::numeric_limits<double>::infinity(), high = -low;
  for_each_line(series, [&](const Line& line) {
    for (const auto& [x, y] : line) x_end = std::max(x_end, x);
  });
  for_each_line(series, [&](const Line& line) {
    const double begin = line.empty() ? 0 : line.front().first;
    const double end = line.empty() ? 0 : line.back().first;
    for (const auto& [x, y] : line) {
      low = std::min(low, y);
      if (x >= begin + (end - begin) / 10) high = std::max(high, y);
    }
  });
  if (x_end > 0) frame.x_end = x_end;
  if (!std::isfinite(low) || !std::isfinite(high)) return frame;
  const double margin = std::max((high - low) / 20, std::abs(high) * 1e-3 + 1e-9);
  frame.y_begin = low - margin;
  frame.y_end = high + margin;
  return frame;
}

std::string path(const Line& line, const Frame& frame) {
  std::string text;
  for (const auto& [x, y] : line)
    text += fmt::format("{}{:.1f} {:.1f}", text.empty() ? "M" : "L", frame.x(x), frame.y(y));
  return text;
}

std::string axes(const Frame& frame, const std::string& x_label, const std::string& y_label) {
  std::string text;
  for (double value : ticks(0, frame.x_end, 6))
    text += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\"/>"
        "<text x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4}</text>\n",
        frame.x(value), kTop, kHeight - kBottom, kHeight - kBottom + 16, short_count(value));
  for (double value : ticks(frame.y_begin, frame.y_end, 6))
    text += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{2:.1f}\" y2=\"{1:.1f}\"/>"
        "<text x=\"{3:.1f}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.4g}</text>\n",
        kLeft, frame.y(value), kWidth - kRight, kLeft - 6, frame.y(value) + 4, value);
  text += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                      (kLeft + kWidth - kRight) / 2, kHeight - 10, escaped(x_label));
  return text + fmt::format("<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                            (kTop + kHeight - kBottom) / 2, escaped(y_label));
}

std::string drawn(const Series& series, size_t index, const Frame& frame) {
  const std::string color = color_of_series(index);
  std::string text;
  for (const Line& part : series.parts)
    text += fmt::format("<path class=\"part\" stroke=\"{}\" d=\"{}\"/>\n", color, path(part, frame));
  const std::string dashes = index >= 8 ? " stroke-dasharray=\"6 3\"" : "";
  text += fmt::format("<path class=\"mean\" stroke=\"{}\"{} d=\"{}\"><title>{}</title></path>\n", color, dashes,
                      path(series.mean, frame), escaped(series.name));
  for (const auto& [x, y] : series.mean)
    text +=
        fmt::format("<circle fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"><title>{} · {:.4f}</title></circle>\n",
                    color, frame.x(x), frame.y(y), escaped(series.name), y);
  return text;
}

}  // namespace

std::string color_of_series(size_t index) {
  constexpr std::array<const char*, 8> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                  "#b8860b", "#56b4e9", "#444444", "#8c3fc8"};
  return kColors[index % kColors.size()];
}

std::string escaped(const std::string& text) {
  std::string result;
  for (char letter : text) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += letter;
    }
  }
  return result;
}

std::vector<double> ticks(double from, double to, int count) {
  const double rough = (to - from) / count;
  if (!(rough > 0)) return {from};
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double factor : {5.0, 2.0, 1.0})
    if (factor * power >= rough * 0.999) step = factor * power;
  std::vector<double> result;
  for (double value = std::ceil(from / step - 1e-9) * step; value <= to * (1 + 1e-9); value += step)
    result.push_back(std::abs(value) < step / 1e6 ? 0 : value);
  return result;
}

std::string plot_svg(const std::string& x_label, const std::string& y_label, const std::vector<Series>& series,
                     std::optional<double> mark) {
  const Frame frame = frame_of(series);
  std::string text = fmt::format("<svg viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2} over {3}\">\n", kWidth,
                                 kHeight, escaped(y_label), escaped(x_label));
  text += axes(frame, x_label, y_label);
  if (mark)
    text += fmt::format("<line class=\"mark\" x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\"/>\n",
                        frame.x(*mark), kTop, kHeight - kBottom);
  // A viewport of its own cuts off what begins above the frame.
  text += fmt::format("<svg x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" viewBox=\"{0} {1} {2} {3}\">\n", kLeft,
                      kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom);
  for (size_t i = 0; i < series.size(); ++i) text += drawn(series[i], i, frame);
  return text + "</svg>\n</svg>\n";
}

}  // namespace lmnet::sweep
