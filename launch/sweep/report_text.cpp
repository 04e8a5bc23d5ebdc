#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launch/sweep/plot.h"
#include "launch/sweep/report.h"
#include "trainer/describe.h"
#include "trainer/terminal.h"

namespace lmnet::sweep {
namespace {

/// `2.3412 ± 0.0123`; `2.3412` of one seed; `-` of none.
std::string with_spread(const Statistic& value) {
  if (value.count == 0) return "-";
  return value.count == 1 ? fmt::format("{:.4f}", value.mean)
                          : fmt::format("{:.4f} ± {:.4f}", value.mean, value.spread);
}

std::string loss_name(const Report& report) {
  return report.validated ? "validation loss" : "training loss";
}

std::vector<std::string> heads(const Report& report) {
  return {"network",
          "parameters",
          "trainable",
          "tokens/s",
          "tokens",
          "compute",
          loss_name(report),
          "at " + short_count(report.tokens, "t"),
          "at " + short_count(report.flop, "FLOP"),
          "seeds"};
}

std::vector<std::vector<std::string>> table(const Report& report) {
  std::vector<std::vector<std::string>> rows;
  for (const Group& group : report.groups)
    rows.push_back({group.name, short_count(static_cast<double>(group.parameters)),
                    short_count(static_cast<double>(group.trainable)), short_count(group.tokens_per_s.mean),
                    short_count(group.tokens, "t"), short_count(group.flop, "FLOP"), with_spread(group.loss),
                    with_spread(group.at_tokens), with_spread(group.at_flop), fmt::format("{}", group.loss.count)});
  return rows;
}

std::string summary(const Report& report) {
  return fmt::format("sweep {} · {} of {} runs done", report.name, report.done, report.cells);
}

const char* const kNotes =
    "mean ± standard deviation over seeds; the last two losses are those at equal tokens and at equal compute, as far "
    "as "
    "all runs have come, interpolated between measurements; tokens and compute include what was prepared for a run";

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char letter : text) quoted += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return quoted + "\"";
}

/// Exact, and empty where there is none.
std::string csv_number(const Statistic& value, double number, size_t needed) {
  return value.count >= needed ? fmt::format("{:.9g}", number) : "";
}

/// The mean of the lines of a group, at the places of its first one that all of them reach.
Series series_of(const Group& group, double Point::*axis) {
  Series series{group.name, {}, {}};
  for (const FinishedRun& run : group.runs) {
    Line line;
    for (const Point& point : run.points) line.emplace_back(point.*axis, point.loss);
    series.parts.push_back(std::move(line));
  }
  if (group.runs.empty()) return series;
  for (const Point& point : group.runs.front().points) {
    std::vector<double> losses;
    for (const FinishedRun& run : group.runs)
      if (const auto loss = loss_at(run.points, axis, point.*axis)) losses.push_back(*loss);
    if (losses.size() == group.runs.size()) series.mean.emplace_back(point.*axis, statistic_of(losses).mean);
  }
  return series;
}

std::string plot(const Report& report, const std::string& x_label, double Point::*axis, double mark) {
  std::vector<Series> series;
  for (const Group& group : report.groups) series.push_back(series_of(group, axis));
  return plot_svg(x_label, loss_name(report), series, mark > 0 ? std::optional(mark) : std::nullopt);
}

std::string html_table(const Report& report) {
  std::string text = "<table>\n<tr><th></th>";
  for (const std::string& head : heads(report)) text += "<th>" + escaped(head) + "</th>";
  text += "</tr>\n";
  const auto rows = table(report);
  for (size_t i = 0; i < rows.size(); ++i) {
    text += fmt::format("<tr><td><i style=\"background:{}\"></i></td>", color_of_series(i));
    for (const std::string& cell : rows[i]) text += "<td>" + escaped(cell) + "</td>";
    text += "</tr>\n";
  }
  return text + "</table>\n";
}

const char* const kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } p.note { color: #666; font-size: .85rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th { text-align: right; font-weight: 600; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #e4e4e4; white-space: nowrap; text-align: right; }
th:nth-child(2), td:nth-child(2) { text-align: left; } td i { display: inline-block; width: 1.4rem; height: .3rem; }
.scroll { overflow-x: auto; } .plots { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
figure { flex: 1 1 30rem; margin: 0; } svg { width: 100%; font-size: 12px; } svg text { fill: #444; }
.grid { stroke: #e8e8e8; } .mark { stroke: #999; stroke-dasharray: 4 4; }
.mean, .part { fill: none; } .mean { stroke-width: 2; } .part { stroke-width: 1; opacity: .3; }
)";

}  // namespace

std::string to_text(const Report& report) {
  std::vector<std::vector<std::string>> rows = table(report);
  rows.insert(rows.begin(), heads(report));
  std::vector<int> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  std::string text = summary(report) + "\n";
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(static_cast<size_t>(widths[i] - columns_of(row[i])), ' ');
      text += i == 0 ? row[i] + space : "  " + space + row[i];
    }
    text += "\n";
  }
  text += fmt::format("({})\n", kNotes);
  for (const std::string& line : report.missing) text += "not done: " + line + "\n";
  return text;
}

std::string to_csv(const Report& report) {
  std::vector<std::string> keys;
  for (const Group& group : report.groups)
    for (const auto& [key, label] : group.labels)
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  std::string text = "network";
  for (const std::string& key : keys) text += "," + csv_text(key.empty() ? "name" : key);
  text +=
      ",seeds,parameters,trainable,tokens,flop,tokens_per_s,loss,loss_spread,loss_at_equal_tokens,"
      "loss_at_equal_tokens_spread,loss_at_equal_compute,loss_at_equal_compute_spread,equal_tokens,equal_flop\n";
  for (const Group& group : report.groups) {
    text += csv_text(group.name);
    for (const std::string& key : keys) {
      const auto label = std::ranges::find(group.labels, key, &std::pair<std::string, std::string>::first);
      text += "," + (label == group.labels.end() ? "" : csv_text(label->second));
    }
    text += fmt::format(",{},{},{},{:.9g},{:.9g},{:.9g}", group.loss.count, group.parameters, group.trainable,
                        group.tokens, group.flop, group.tokens_per_s.mean);
    for (const Statistic* value : {&group.loss, &group.at_tokens, &group.at_flop})
      text += "," + csv_number(*value, value->mean, 1) + "," + csv_number(*value, value->spread, 2);
    text += fmt::format(",{:.9g},{:.9g}\n", report.tokens, report.flop);
  }
  return text;
}

std::string to_html(const Report& report) {
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>sweep {}</title>\n"
      "<style>{}</style>\n<h1>{}</h1>\n",
      escaped(report.name), kStyle, escaped(summary(report)));
  text += "<div class=\"scroll\">\n" + html_table(report) + "</div>\n";
  text += fmt::format(
      "<p class=\"note\">{}. Thin lines are single seeds; the dashed line is where losses at equal tokens "
      "(compute) are taken.</p>\n",
      kNotes);
  text += "<div class=\"plots\">\n<figure>\n" + plot(report, "tokens", &Point::tokens, report.tokens) +
          "</figure>\n<figure>\n" + plot(report, "compute (FLOP)", &Point::flop, report.flop) + "</figure>\n</div>\n";
  if (!report.missing.empty()) {
    text += "<h2>Not done</h2>\n<ul>\n";
    for (const std::string& line : report.missing) text += "<li>" + escaped(line) + "</li>\n";
    text += "</ul>\n";
  }
  return text + "</html>\n";
}

}  // namespace lmnet::sweep
