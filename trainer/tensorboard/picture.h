#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/graph/graph.h"

namespace lmnet {

/// A small picture that is drawn into, white at first.
class Picture {
 public:
  using Color = std::array<uint8_t, 3>;
  struct Point {
    double x = 0, y = 0;
  };

  Picture(int width, int height);
  int width() const { return width_; }
  int height() const { return height_; }
  Color at(int x, int y) const;

  /// Both with soft borders.
  void line(Point from, Point to, double thickness, Color color);
  void disc(Point center, double radius, Color color);

  /// As a PNG file (8 bits, RGB).
  std::string png() const;

 private:
  void blend(int x, int y, double share, Color color);

  int width_, height_;
  std::vector<uint8_t> pixels_;  // [height, width, 3]
};

/// The graph from left to right, the input and the head as small discs at both ends: vertices in the colours of their
/// weight groups, identity edges grey, those that skip levels bent.
Picture draw_graph(const Graph& graph);

}  // namespace lmnet
