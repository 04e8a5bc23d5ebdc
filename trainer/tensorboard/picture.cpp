#include "trainer/tensorboard/picture.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

namespace lmnet {
namespace {

using Point = Picture::Point;

std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

/// A chunk of a PNG file: length, type, data, CRC of both.
std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size())) + body + big_endian(static_cast<uint32_t>(crc));
}

std::string deflated(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string result(size, '\0');
  if (compress(reinterpret_cast<Bytef*>(result.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
               data.size()) != Z_OK)
    throw std::runtime_error("zlib cannot compress a picture");
  result.resize(size);
  return result;
}

double distance(Point p, Point from, Point to) {
  const double dx = to.x - from.x, dy = to.y - from.y, length = dx * dx + dy * dy;
  double along = length > 0 ? ((p.x - from.x) * dx + (p.y - from.y) * dy) / length : 0;
  along = std::clamp(along, 0.0, 1.0);
  return std::hypot(p.x - from.x - along * dx, p.y - from.y - along * dy);
}

constexpr Picture::Color kEdge = {120, 130, 150}, kIdentity = {205, 205, 205}, kEnds = {60, 60, 60};

Picture::Color group_color(size_t number) {
  constexpr std::array<Picture::Color, 8> colors = {{{0, 114, 178},
                                                     {213, 94, 0},
                                                     {0, 158, 115},
                                                     {204, 121, 167},
                                                     {184, 134, 11},
                                                     {86, 180, 233},
                                                     {68, 68, 68},
                                                     {140, 60, 200}}};
  return colors[number % colors.size()];
}

/// Where things stand: a column for each level, the input before and the head behind them.
class Places {
 public:
  explicit Places(const Graph& graph) : graph_(graph) {
    size_t most = 1;
    for (int level = 0; level < graph.levels(); ++level) most = std::max(most, graph.level(level).size());
    const int columns = graph.levels() + 2;
    column_ = std::clamp(kLargest / columns, 24, 110);
    row_ = std::clamp(kLargest / static_cast<int>(most), 16, 70);
    width_ = column_ * columns;
    height_ = row_ * static_cast<int>(most + 1);
  }

  int width() const { return width_; }
  int height() const { return height_; }
  double radius() const { return std::min(column_, row_) / 4.0; }

  Point of(int vertex) const {
    const double middle = height_ / 2.0;
    if (vertex == Graph::input) return {column_ / 2.0, middle};
    const int level = graph_.level_of(vertex);
    const double x = (level + 1.5) * column_;
    if (vertex == graph_.head()) return {x, middle};
    const auto count = static_cast<double>(graph_.level(level).size());
    return {x, middle + (graph_.vertices()[static_cast<size_t>(vertex)].number - (count - 1) / 2) * row_};
  }

  /// How far the middle of an edge is moved sideways, so that it does not run through the levels it skips.
  double bend(const Edge& edge) const {
    const int skipped = graph_.level_of(edge.destination) - graph_.source_level(edge) - 1;
    return skipped > 0 ? row_ * 0.45 : 0;
  }

 private:
  static constexpr int kLargest = 1400;
  const Graph& graph_;
  int column_ = 0, row_ = 0, width_ = 0, height_ = 0;
};

}  // namespace

Picture::Picture(int width, int height)
    : width_(width), height_(height), pixels_(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 255) {}

Picture::Color Picture::at(int x, int y) const {
  const size_t first = (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 3;
  return {pixels_[first], pixels_[first + 1], pixels_[first + 2]};
}

void Picture::blend(int x, int y, double share, Color color) {
  if (share <= 0) return;
  const size_t first = (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 3;
  for (size_t c = 0; c < 3; ++c)
    pixels_[first + c] = static_cast<uint8_t>(std::lround(pixels_[first + c] * (1 - share) + color[c] * share));
}

void Picture::line(Point from, Point to, double thickness, Color color) {
  const double reach = thickness / 2 + 1;
  const auto low = [&](double a, double b) { return std::max(0, static_cast<int>(std::min(a, b) - reach)); };
  const auto high = [&](double a, double b, int end) {
    return std::min(end - 1, static_cast<int>(std::max(a, b) + reach));
  };
  for (int y = low(from.y, to.y); y <= high(from.y, to.y, height_); ++y)
    for (int x = low(from.x, to.x); x <= high(from.x, to.x, width_); ++x)
      blend(x, y, std::clamp(thickness / 2 + 0.5 - distance({x + 0.5, y + 0.5}, from, to), 0.0, 1.0), color);
}

void Picture::disc(Point center, double radius, Color color) {
  line(center, center, 2 * radius, color);
}

std::string Picture::png() const {
  std::string rows;
  for (int y = 0; y < height_; ++y) {
    rows += '\0';  // no filter
    const auto first = pixels_.begin() + static_cast<std::ptrdiff_t>(y) * width_ * 3;
    rows.append(first, first + static_cast<std::ptrdiff_t>(width_) * 3);
  }
  const std::string form{8, 2, 0, 0, 0};  // bits, RGB, deflate, filters of PNG, not interlaced
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR", big_endian(static_cast<uint32_t>(width_)) + big_endian(static_cast<uint32_t>(height_)) + form) +
         chunk("IDAT", deflated(rows)) + chunk("IEND", "");
}

Picture draw_graph(const Graph& graph) {
  const Places places(graph);
  Picture picture(places.width(), places.height());
  for (const Edge& edge : graph.edges()) {
    const Point from = places.of(edge.source), to = places.of(edge.destination);
    const double bend = places.bend(edge);
    const int parts = bend > 0 ? 16 : 1;
    Point last = from;
    for (int i = 1; i <= parts; ++i) {
      const double share = static_cast<double>(i) / parts;
      const Point next{from.x + share * (to.x - from.x),
                       from.y + share * (to.y - from.y) + 4 * share * (1 - share) * bend};
      picture.line(last, next, 1.5, edge.kinds.empty() ? kIdentity : kEdge);
      last = next;
    }
  }
  picture.disc(places.of(Graph::input), places.radius() / 2, kEnds);
  picture.disc(places.of(graph.head()), places.radius() / 2, kEnds);
  std::map<std::string, size_t> groups;
  for (size_t vertex = 0; vertex < graph.vertices().size(); ++vertex) {
    const size_t number = groups.try_emplace(graph.vertices()[vertex].group, groups.size()).first->second;
    picture.disc(places.of(static_cast<int>(vertex)), places.radius(), group_color(number));
  }
  return picture;
}

}  // namespace lmnet
