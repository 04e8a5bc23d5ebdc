#include "model/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "model/errors.h"

namespace lmnet {
namespace {

constexpr std::pair<std::string_view, at::ScalarType> kDtypes[] = {{"BOOL", at::kBool},
                                                                   {"U8", at::kByte},
                                                                   {"I8", at::kChar},
                                                                   {"I16", at::kShort},
                                                                   {"U16", at::kUInt16},
                                                                   {"F16", at::kHalf},
                                                                   {"BF16", at::kBFloat16},
                                                                   {"I32", at::kInt},
                                                                   {"U32", at::kUInt32},
                                                                   {"F32", at::kFloat},
                                                                   {"I64", at::kLong},
                                                                   {"U64", at::kUInt64},
                                                                   {"F64", at::kDouble},
                                                                   {"C64", at::kComplexFloat},
                                                                   {"F8_E5M2", at::kFloat8_e5m2},
                                                                   {"F8_E4M3", at::kFloat8_e4m3fn}};

/// What tensor libraries take.
constexpr size_t kMostDimensions = 64;

/// An object of objects, whose values are texts, numbers, lists of numbers, or something else: a header and an index
/// are both of this kind. Read as it arrives, so that nothing is built that is not wanted; a name may come only once.
class TwoLevels : public nlohmann::json_sax<nlohmann::json> {
 public:
  using Numbers = std::vector<uint64_t>;
  using Value = std::variant<std::monostate, std::string, uint64_t, Numbers>;

  explicit TwoLevels(const std::string& file) : file_(file) {}

  bool null() final { return value({}); }
  bool boolean(bool) final { return value({}); }
  bool number_integer(number_integer_t) final { return value({}); }
  bool number_float(number_float_t, const string_t&) final { return value({}); }
  bool string(string_t& text) final { return value(std::move(text)); }
  bool binary(binary_t&) final { return value({}); }
  bool number_unsigned(number_unsigned_t number) final {
    if (!list_) return value(number);
    if (list_->size() == kMostDimensions)
      fail("\"{}\" has a list of more than {} numbers", shown(outer_), kMostDimensions);
    list_->push_back(number);
    return true;
  }
  bool start_object(std::size_t) final {
    if (list_ || depth_ == 2) unfit();
    if (++depth_ == 2) begin(outer_);
    names_[depth_].clear();
    return true;
  }
  bool end_object() final {
    if (depth_-- == 2) end();
    return true;
  }
  bool start_array(std::size_t) final {
    if (list_ || depth_ != 2) unfit();
    list_.emplace();
    return true;
  }
  bool end_array() final {
    Numbers numbers = *std::exchange(list_, std::nullopt);
    return value(std::move(numbers));
  }
  bool key(string_t& name) final {
    if (!names_[depth_].insert(name).second)
      fail("\"{}\" is there twice", depth_ == 1 ? shown(name) : shown(outer_) + "\".\"" + shown(name));
    (depth_ == 1 ? outer_ : inner_) = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) final {
    fail("no valid JSON at its byte {}", position);
  }

  template <typename... A>
  [[noreturn]] void fail(fmt::format_string<A...> text, A&&... arguments) const {
    throw WeightsError(file_ + ": " + fmt::format(text, std::forward<A>(arguments)...));
  }

 protected:
  /// The object `outer` begins.
  virtual void begin(const std::string& outer) = 0;
  /// A value in it.
  virtual void take(const std::string& outer, const std::string& inner, Value value) = 0;
  virtual void end() {}

 private:
  bool value(Value value) {
    if (list_ || depth_ < 2) unfit();
    take(outer_, inner_, std::move(value));
    return true;
  }
  [[noreturn]] void unfit() const { fail("\"{}\" holds something that does not belong there", shown(outer_)); }

  const std::string& file_;
  int depth_ = 0;
  std::set<std::string> names_[3];
  std::string outer_, inner_;
  std::optional<Numbers> list_;
};

/// Reads an entry's three fields and checks what can be known from them alone.
class Header final : public TwoLevels {
 public:
  using TwoLevels::TwoLevels;

  std::vector<SafetensorsEntry> entries;

 private:
  struct Raw {
    std::string name;
    std::optional<std::string> dtype;
    std::optional<Numbers> shape, offsets;
  };

  void begin(const std::string& outer) override {
    metadata_ = outer == "__metadata__";
    raw_ = {outer, {}, {}, {}};
  }

  void end() override {
    if (!metadata_) entries.push_back(checked(raw_));
  }

  void take(const std::string& outer, const std::string& inner, Value value) override {
    auto* text = std::get_if<std::string>(&value);
    auto* numbers = std::get_if<Numbers>(&value);
    if (metadata_ && text) return;
    if (!metadata_ && inner == "dtype" && text)
      raw_.dtype = std::move(*text);
    else if (!metadata_ && inner == "shape" && numbers)
      raw_.shape = std::move(*numbers);
    else if (!metadata_ && inner == "data_offsets" && numbers)
      raw_.offsets = std::move(*numbers);
    else
      fail("tensor \"{}\": \"{}\" is not what the format knows", shown(outer), shown(inner));
  }

  SafetensorsEntry checked(const Raw& raw) const {
    const std::string name = shown(raw.name);
    for (auto [field, there] : {std::pair{"dtype", raw.dtype.has_value()}, std::pair{"shape", raw.shape.has_value()},
                                std::pair{"data_offsets", raw.offsets.has_value()}})
      if (!there) fail("tensor \"{}\" has no {}", name, field);
    auto dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](auto& d) { return d.first == *raw.dtype; });
    if (dtype == std::end(kDtypes)) fail("tensor \"{}\" has the unknown dtype \"{}\"", name, shown(*raw.dtype));
    if (raw.offsets->size() != 2) fail("tensor \"{}\": data_offsets are {} numbers, not 2", name, raw.offsets->size());
    const uint64_t begin = (*raw.offsets)[0], end = (*raw.offsets)[1];
    if (end < begin) fail("tensor \"{}\" ends at byte {}, before it begins at {}", name, end, begin);
    // Strides must fit too, so an empty dimension counts as one here.
    int64_t largest = static_cast<int64_t>(c10::elementSize(dtype->second));
    for (uint64_t size : *raw.shape)
      if (size > std::numeric_limits<int64_t>::max() ||
          __builtin_mul_overflow(largest, std::max(static_cast<int64_t>(size), int64_t{1}), &largest))
        fail("tensor \"{}\" of shape [{}] is larger than any file", name, fmt::join(*raw.shape, ", "));
    SafetensorsEntry entry{raw.name, dtype->second, {raw.shape->begin(), raw.shape->end()}, begin, end};
    if (entry.bytes() != end - begin)
      fail("tensor \"{}\", {} of shape [{}], takes {} bytes, but its data_offsets span {}", name, *raw.dtype,
           fmt::join(*raw.shape, ", "), entry.bytes(), end - begin);
    return entry;
  }

  Raw raw_;
  bool metadata_ = false;
};

class Index final : public TwoLevels {
 public:
  using TwoLevels::TwoLevels;
  std::map<std::string, std::string> weight_map;

 private:
  void begin(const std::string&) override {}

  void take(const std::string& outer, const std::string& inner, Value value) override {
    if (outer != "weight_map") return;  // metadata: of no use here
    auto* shard = std::get_if<std::string>(&value);
    if (!shard || shard->empty() || shard->front() == '.' || shard->find('/') != std::string::npos)
      fail("tensor \"{}\": its file must be named, one beside the index", shown(inner));
    weight_map.emplace(inner, std::move(*shard));
  }
};

/// Every byte of the data part belongs to exactly one tensor.
void check_cover(std::span<const SafetensorsEntry> entries, uint64_t data_bytes, const std::string& file) {
  auto refuse = [&](const std::string& what) { throw WeightsError(fmt::format("{}: {}", file, what)); };
  uint64_t reached = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::string name = shown(entry.name);
    if (entry.begin < reached)
      refuse(fmt::format("tensor \"{}\" begins at byte {} and overlaps another one, which ends at {}", name,
                         entry.begin, reached));
    if (entry.begin > reached)
      refuse(fmt::format("bytes {} to {}, before tensor \"{}\", belong to no tensor", reached, entry.begin, name));
    if (entry.end > data_bytes)
      refuse(fmt::format("tensor \"{}\" ends at byte {}, but the file has only {} bytes of data", name, entry.end,
                         data_bytes));
    reached = entry.end;
  }
  if (reached < data_bytes)
    refuse(fmt::format("{} bytes after the last tensor{} belong to no tensor", data_bytes - reached,
                       entries.empty() ? "" : fmt::format(" \"{}\"", shown(entries.back().name))));
}

}  // namespace

uint64_t SafetensorsEntry::bytes() const {
  uint64_t bytes = c10::elementSize(dtype);
  for (int64_t size : shape) bytes *= static_cast<uint64_t>(size);
  return bytes;
}

std::string_view safetensors_dtype(at::ScalarType dtype) {
  for (const auto& [name, type] : kDtypes)
    if (type == dtype) return name;
  throw WeightsError(fmt::format("safetensors has no dtype {}", c10::toString(dtype)));
}

std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, uint64_t data_bytes,
                                                       const std::string& file) {
  if (!header.starts_with('{')) throw WeightsError(fmt::format("{}: its header is no JSON object", file));
  Header reader(file);
  nlohmann::json::sax_parse(header, &reader);
  std::vector<SafetensorsEntry> entries = std::move(reader.entries);
  std::stable_sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_cover(entries, data_bytes, file);
  return entries;
}

std::string write_safetensors_header(std::vector<SafetensorsEntry>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  uint64_t reached = 0;
  for (SafetensorsEntry& tensor : tensors) {
    tensor.begin = std::exchange(reached, reached + tensor.bytes());
    tensor.end = reached;
    header +=
        fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", nlohmann::json(tensor.name).dump(),
                    safetensors_dtype(tensor.dtype), fmt::join(tensor.shape, ","), tensor.begin, tensor.end);
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

std::map<std::string, std::string> parse_safetensors_index(std::string_view text, const std::string& file) {
  if (text.size() > kLongestSafetensorsHeader) throw WeightsError(fmt::format("{}: too long for an index", file));
  Index reader(file);
  nlohmann::json::sax_parse(text, &reader);
  if (reader.weight_map.empty()) throw WeightsError(fmt::format("{}: it has no weight_map with tensors", file));
  return std::move(reader.weight_map);
}

}  // namespace lmnet
