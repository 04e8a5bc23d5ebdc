#include "trainer/tensorboard/event_file.h"

#include <fcntl.h>

#include <bit>
#include <cstring>

#include "trainer/checkpoint/crc32c.h"

namespace lmnet {
namespace {

/// A protobuf message that grows field by field (protobuf.dev/programming-guides/encoding).
class Proto {
 public:
  Proto& whole(int field, int64_t value) {
    key(field, 0);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Proto& real(int field, double value) {
    key(field, 1);
    fixed(std::bit_cast<uint64_t>(value));
    return *this;
  }
  Proto& real(int field, float value) {
    key(field, 5);
    fixed(std::bit_cast<uint32_t>(value));
    return *this;
  }
  Proto& text(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Proto& message(int field, const Proto& value) { return text(field, value.bytes_); }

  std::string take() { return std::move(bytes_); }

 private:
  void key(int field, unsigned wire) { varint(static_cast<uint64_t>(field) << 3 | wire); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  template <class Number>
  void fixed(Number value) {
    for (size_t i = 0; i < sizeof value; ++i) bytes_ += static_cast<char>(value >> 8 * i);
  }

  std::string bytes_;
};

/// Numbers of fields, by message.
namespace event_field {
constexpr int wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7;
}
namespace session_field {
constexpr int status = 1;
}
namespace summary_field {
constexpr int value = 1;
}
namespace value_field {
constexpr int tag = 1, simple_value = 2, image = 4, tensor = 8, metadata = 9;
}
namespace image_field {
constexpr int height = 1, width = 2, colorspace = 3, encoded = 4;
}
namespace tensor_field {
constexpr int dtype = 1, shape = 2, string_val = 8;
}
namespace shape_field {
constexpr int dim = 2, size = 1;
}
namespace metadata_field {
constexpr int plugin_data = 1, plugin_name = 1;
}

Proto event(double time, int64_t step) {
  Proto message;
  message.real(event_field::wall_time, time);
  if (step != 0) message.whole(event_field::step, step);
  return message;
}

/// The event with a summary of one value.
EventBytes with_value(Proto event, const Proto& value) {
  return event.message(event_field::summary, Proto().message(summary_field::value, value)).take();
}

/// What a reader still has to read.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }
  bool skip(uint64_t size) {
    if (size > rest_.size()) return false;
    rest_.remove_prefix(size);
    return true;
  }
  /// Past the value of a field.
  bool skip_value(uint64_t wire) {
    if (wire == 0) return varint().has_value();
    if (wire == 1) return skip(8);
    if (wire == 5) return skip(4);
    const auto size = wire == 2 ? varint() : std::nullopt;
    return size && skip(*size);
  }

 private:
  std::string_view rest_;
};

template <class Number>
std::string little_endian(Number value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> 8 * i);
  return bytes;
}

template <class Number>
Number little_endian(std::string_view bytes) {
  Number value = 0;
  for (size_t i = sizeof value; i-- > 0;)
    value = static_cast<Number>(value << 8 | static_cast<unsigned char>(bytes[i]));
  return value;
}

/// A CRC of bytes that hold CRCs would be weak: records hold masked ones.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
  return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

constexpr size_t kHead = 12, kFoot = 4;  // length and its CRC before an event, its CRC behind it

}  // namespace

EventBytes version_event(double time) {
  return event(time, 0).text(event_field::file_version, "brain.Event:2").take();
}

EventBytes start_event(double time) {
  constexpr int64_t kStart = 1;
  return event(time, 0).message(event_field::session_log, Proto().whole(session_field::status, kStart)).take();
}

EventBytes scalars_event(double time, int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  Proto summary;
  for (const auto& [tag, value] : scalars)
    summary.message(summary_field::value,
                    Proto().text(value_field::tag, tag).real(value_field::simple_value, static_cast<float>(value)));
  return event(time, step).message(event_field::summary, summary).take();
}

EventBytes text_event(double time, int64_t step, const std::string& tag, const std::string& text) {
  constexpr int64_t kStrings = 7;  // DT_STRING
  const Proto shape = Proto().message(shape_field::dim, Proto().whole(shape_field::size, 1));
  Proto value;
  value.text(value_field::tag, tag)
      .message(value_field::tensor, Proto()
                                        .whole(tensor_field::dtype, kStrings)
                                        .message(tensor_field::shape, shape)
                                        .text(tensor_field::string_val, text))
      .message(value_field::metadata,
               Proto().message(metadata_field::plugin_data, Proto().text(metadata_field::plugin_name, "text")));
  return with_value(event(time, step), value);
}

EventBytes image_event(double time, int64_t step, const std::string& tag, int width, int height,
                       const std::string& png) {
  constexpr int64_t kRgb = 3;
  Proto value;
  value.text(value_field::tag, tag)
      .message(value_field::image, Proto()
                                       .whole(image_field::height, height)
                                       .whole(image_field::width, width)
                                       .whole(image_field::colorspace, kRgb)
                                       .text(image_field::encoded, png));
  return with_value(event(time, step), value);
}

std::optional<int64_t> step_of(std::string_view event) {
  ProtoReader reader(event);
  int64_t step = 0;
  while (!reader.empty()) {
    const auto key = reader.varint();
    if (!key) return std::nullopt;
    if (*key == (event_field::step << 3 | 0)) {
      const auto value = reader.varint();
      if (!value) return std::nullopt;
      step = static_cast<int64_t>(*value);
    } else if (!reader.skip_value(*key & 7)) {
      return std::nullopt;
    }
  }
  return step;
}

EventFile::EventFile(const std::filesystem::path& path) : file_(path, O_WRONLY | O_CREAT | O_TRUNC) {}

void EventFile::add(std::span<const EventBytes> events) {
  std::string bytes;
  for (const EventBytes& event : events) {
    const std::string length = little_endian<uint64_t>(event.size());
    bytes += length + little_endian(masked_crc(length)) + event + little_endian(masked_crc(event));
  }
  file_.write(std::as_bytes(std::span(bytes)), end_);
  end_ += bytes.size();
}

std::vector<EventBytes> read_events(const std::filesystem::path& path) {
  const std::string bytes = read_text(path);
  std::string_view rest = bytes;
  std::vector<EventBytes> events;
  while (rest.size() >= kHead + kFoot) {
    const auto length = little_endian<uint64_t>(rest.substr(0, 8));
    if (little_endian<uint32_t>(rest.substr(8, 4)) != masked_crc(rest.substr(0, 8))) break;
    if (length > rest.size() - kHead - kFoot) break;
    const std::string_view event = rest.substr(kHead, length);
    if (little_endian<uint32_t>(rest.substr(kHead + length, 4)) != masked_crc(event)) break;
    events.emplace_back(event);
    rest.remove_prefix(kHead + length + kFoot);
  }
  return events;
}

}  // namespace lmnet
