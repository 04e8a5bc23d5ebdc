#include "trainer/tensorboard/tensorboard.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "trainer/checkpoint/file_io.h"
#include "trainer/tensorboard/picture.h"

namespace lmnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// What TensorBoard's own reader makes of such files: tests/scripts/tensorboard_test.sh.
class TensorBoardTest : public ::testing::Test {
 protected:
  TensorBoardTest() : folder_(fs::temp_directory_path() / ("tensorboard_test-" + std::to_string(getpid()))) {}
  ~TensorBoardTest() override { fs::remove_all(folder_); }

  std::vector<fs::path> files() const {
    std::vector<fs::path> all(fs::directory_iterator(folder_), {});
    std::ranges::sort(all);
    return all;
  }

  std::vector<int64_t> steps() const {
    std::vector<int64_t> steps;
    for (const fs::path& file : files())
      for (const EventBytes& event : read_events(file)) steps.push_back(*step_of(event));
    return steps;
  }

  static Json line(int64_t update) {
    return {{"update", update}, {"loss", 2.5}, {"lr", {{"edges", 1e-3}}}, {"batch_hash", "0f"}, {"time", 1000}};
  }

  fs::path folder_;
};

TEST_F(TensorBoardTest, writes_the_records_of_the_format) {
  const fs::path path = fs::temp_directory_path() / ("event_file_test-" + std::to_string(getpid()));
  {
    EventFile file(path);
    const EventBytes event = version_event(1.0);
    EXPECT_EQ(event, std::string("\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0d", 11) + "brain.Event:2");
    file.add(std::vector{event, scalars_event(2.0, 300, {{"loss", 0.5}})});
  }
  const std::string bytes = read_text(path);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x18\0\0\0\0\0\0\0", 8));
  const std::vector<EventBytes> events = read_events(path);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(step_of(events[0]), 0);
  EXPECT_EQ(step_of(events[1]), 300);
  EXPECT_EQ(step_of("\x10"), std::nullopt);
  for (size_t size : {bytes.size() - 1, bytes.size() - 5, size_t{30}, size_t{3}, size_t{0}}) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
    EXPECT_EQ(read_events(path).size(), size < 40 ? 0u : 1u) << size;
  }
  std::string damaged = bytes;
  damaged[damaged.size() - 6] ^= 1;
  std::ofstream(path, std::ios::binary) << damaged;
  EXPECT_EQ(read_events(path).size(), 1u);
  fs::remove(path);
}

TEST_F(TensorBoardTest, has_each_number_of_the_metrics_once) {
  TensorBoard board(folder_, 0);
  for (int64_t update : {1, 2, 3}) board.add(line(update));
  board.add({{"update", 3}, {"validation_loss", 2.0}, {"validation", {{"data/x.jsonl", nullptr}}}});
  EXPECT_THAT(steps(), ElementsAre(0, 0, 1, 2, 3, 3));
  const std::string event = read_events(files().front())[2];
  EXPECT_THAT(event, HasSubstr("lr/edges"));
  EXPECT_EQ(event.find("batch_hash"), std::string::npos);
  EXPECT_EQ(event.find("time"), std::string::npos);
}

TEST_F(TensorBoardTest, goes_on_without_a_point_twice) {
  {
    TensorBoard board(folder_, 0);
    board.describe("model: 1\n", "topology 1\n", Graph::layered("1"));
    for (int64_t update : {1, 2, 3, 4}) board.add(line(update));
  }
  const fs::path first = files().front();
  std::ofstream(first, std::ios::binary | std::ios::app) << "cut o";
  {
    TensorBoard board(folder_, 2);
    EXPECT_FALSE(fs::exists(first));
    board.add(line(3));
  }
  EXPECT_THAT(steps(), ElementsAre(0, 0, 1, 2, 3));
  // Killed before the old file was removed.
  fs::copy_file(files().front(), folder_ / "events.out.tfevents.0000000001.h");
  TensorBoard board(folder_, 3);
  EXPECT_EQ(files().size(), 1u);
  EXPECT_THAT(steps(), ElementsAre(0, 0, 1, 2, 3));
}

TEST_F(TensorBoardTest, begins_files_that_sort_behind_older_ones_within_a_second_too) {
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) {
    TensorBoard board(folder_, 0);
    names.push_back(files().front().filename().string());
  }
  EXPECT_TRUE(std::ranges::is_sorted(names));
  EXPECT_NE(names[0], names[1]);
}

TEST(Picture, draws_with_soft_borders) {
  Picture picture(20, 20);
  picture.disc({10, 10}, 5, {0, 0, 0});
  EXPECT_EQ(picture.at(10, 10), (Picture::Color{0, 0, 0}));
  EXPECT_EQ(picture.at(1, 1), (Picture::Color{255, 255, 255}));
  picture.line({-5, 2}, {30, 2}, 2, {255, 0, 0});  // cut off at the borders
  EXPECT_EQ(picture.at(0, 1), (Picture::Color{255, 0, 0}));
}

TEST(Picture, shows_every_vertex_in_the_color_of_its_group) {
  const auto count = [](const Picture& picture, Picture::Color color) {
    int pixels = 0;
    for (int y = 0; y < picture.height(); ++y)
      for (int x = 0; x < picture.width(); ++x) pixels += picture.at(x, y) == color ? 1 : 0;
    return pixels;
  };
  const Picture::Color first = {0, 114, 178}, second = {213, 94, 0};
  const int one = count(draw_graph(Graph::layered("1")), first);
  EXPECT_NEAR(count(draw_graph(Graph::layered("1-4-1")), first), 6 * one, one);
  GraphOptions options;
  options.sharing = Sharing::level;
  EXPECT_NEAR(count(draw_graph(Graph::layered("1-4-1", options)), second), 4 * one, one);
  const Picture large = draw_graph(Graph::layered("1-30-30-1"));
  EXPECT_LE(large.height(), 2000);
}

}  // namespace
}  // namespace lmnet
