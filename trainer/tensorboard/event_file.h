#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/checkpoint/file_io.h"

namespace lmnet {

/// TensorBoard's event files: records (tensorflow/core/lib/io/record_writer.h) of serialised Event messages
/// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto). The dozen fields that are used here are
/// encoded by hand: protobuf's compiler and library would be needed for them alone, and LibTorch carries a protobuf of
/// its own, with which a second one may clash.

/// A serialised Event.
using EventBytes = std::string;

EventBytes version_event(double time);
/// Tells readers to forget what other files of the folder say of steps from 0 on.
EventBytes start_event(double time);
EventBytes scalars_event(double time, int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
/// Shown as Markdown.
EventBytes text_event(double time, int64_t step, const std::string& tag, const std::string& text);
EventBytes image_event(double time, int64_t step, const std::string& tag, int width, int height,
                       const std::string& png);

/// The step of an Event; empty for bytes that are none.
std::optional<int64_t> step_of(std::string_view event);

/// A file that events are added to.
class EventFile {
 public:
  /// Makes the file. Throws CheckpointError for what cannot be written, here and below.
  explicit EventFile(const std::filesystem::path& path);
  /// One write for all of them.
  void add(std::span<const EventBytes> events);
  void sync() { file_.sync(); }

 private:
  FileDescriptor file_;
  uint64_t end_ = 0;
};

/// The whole events of a file, up to where it is cut off or damaged.
std::vector<EventBytes> read_events(const std::filesystem::path& path);

}  // namespace lmnet
