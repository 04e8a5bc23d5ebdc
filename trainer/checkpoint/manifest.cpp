#include "trainer/checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>
#include <utility>

#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;

constexpr int newest_format = 1;

/// An object of the manifest, whose fields are all taken, each once.
class Fields {
 public:
  Fields(const Json& object, std::string where, std::string path)
      : object_(object), where_(std::move(where)), path_(std::move(path)) {
    if (!object_.is_object()) {
      fail(path_.empty() ? "the file" : path_, "is not an object");
    }
  }

  const Json& take(const std::string& key) {
    const auto found = object_.find(key);
    if (found == object_.end()) {
      fail(path_ + key, "is missing");
    }
    taken_.insert(key);
    return *found;
  }

  template <typename Value>
  void take(const std::string& key, Value& value) {
    const Json& json = take(key);
    if constexpr (std::is_same_v<Value, std::string>) {
      if (!json.is_string()) {
        fail(path_ + key, "is not text");
      }
    } else {
      // All numbers here count something.
      constexpr auto largest = static_cast<uint64_t>(std::numeric_limits<Value>::max());
      if (!json.is_number_unsigned() || json.get<uint64_t>() > largest) {
        fail(path_ + key, fmt::format("is not a whole number from 0 to {}", largest));
      }
    }
    value = json.get<Value>();
  }

  void refuse_others() const {
    for (const auto& item : object_.items()) {
      if (!taken_.contains(item.key())) {
        fail(path_ + item.key(), "is unknown");
      }
    }
  }

  [[noreturn]] void fail(const std::string& field, const std::string& problem) const {
    throw CheckpointError(fmt::format("{}: {} {}", where_, field, problem));
  }

 private:
  const Json& object_;
  std::string where_, path_;
  std::set<std::string> taken_;
};

void take_files(Fields& fields, Manifest& manifest, const std::string& where) {
  const Json& files = fields.take("files");
  if (!files.is_array()) {
    fields.fail("files", "is not a list");
  }
  for (const Json& entry : files) {
    const auto path = fmt::format("files[{}].", manifest.files.size());
    Fields file(entry, where, path);
    ManifestFile& read = manifest.files.emplace_back();
    file.take("name", read.name);
    file.take("bytes", read.bytes);
    file.take("crc32c", read.crc32c);
    file.refuse_others();
    if (read.name.empty() || read.name == "." || read.name == ".." || read.name.find('/') != std::string::npos) {
      file.fail(path + "name", "is not the name of a file in this folder");
    }
  }
}

void take_tensors(Fields& fields, Manifest& manifest, const std::string& where) {
  const Json& tensors = fields.take("tensors");
  if (!tensors.is_object()) {
    fields.fail("tensors", "is not an object");
  }
  for (const auto& item : tensors.items()) {
    const auto path = fmt::format("tensors.{}.", item.key());
    Fields tensor(item.value(), where, path);
    std::string& file = manifest.tensors[item.key()];
    tensor.take("file", file);
    tensor.refuse_others();
    if (std::ranges::find(manifest.files, file, &ManifestFile::name) == manifest.files.end()) {
      tensor.fail(path + "file", fmt::format("names {}, which is not among the files", file));
    }
  }
}

void add_tensor(Manifest& manifest, const std::string& tensor, const std::string& file) {
  const auto [entry, added] = manifest.tensors.emplace(tensor, file);
  if (!added) {
    throw CheckpointError(fmt::format("tensor '{}' was written twice, into {} and {}", tensor, entry->second, file));
  }
}

}  // namespace

void add_file(Manifest& manifest, const std::string& name, const TensorFileWriter::Summary& summary) {
  manifest.files.push_back({name, summary.bytes, summary.crc32c});
  for (const auto& tensor : summary.tensors) {
    add_tensor(manifest, tensor.name, name);
  }
}

void add_part(Manifest& manifest, const Manifest& part) {
  manifest.files.insert(manifest.files.end(), part.files.begin(), part.files.end());
  for (const auto& [tensor, file] : part.tensors) {
    add_tensor(manifest, tensor, file);
  }
}

std::string to_json(const Manifest& manifest) {
  Json json = {{"format_version", manifest.format_version},
               {"update", manifest.update},
               {"stage", manifest.stage},
               {"stage_name", manifest.stage_name},
               {"tokens", manifest.tokens},
               {"vertex_parallel", manifest.vertex_parallel},
               {"data_parallel", manifest.data_parallel},
               {"topology", manifest.topology},
               {"plan_hash", manifest.plan_hash},
               {"files", Json::array()},
               {"tensors", Json::object()}};
  for (const auto& file : manifest.files) {
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"crc32c", file.crc32c}});
  }
  // An object, not the bare name: a tensor spread over several files as pieces will need more fields.
  for (const auto& [tensor, file] : manifest.tensors) {
    json["tensors"][tensor] = {{"file", file}};
  }
  return json.dump(2) + "\n";
}

Manifest parse_manifest(const std::string& json, const std::string& where) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    throw CheckpointError(where + ": not JSON; the file is incomplete or damaged");
  }
  Fields fields(root, where, "");
  Manifest manifest;
  fields.take("format_version", manifest.format_version);
  if (manifest.format_version != newest_format) {
    fields.fail("format_version", fmt::format("{} is not {}; read the checkpoint with the lmnet that wrote it",
                                              manifest.format_version, newest_format));
  }
  fields.take("update", manifest.update);
  fields.take("stage", manifest.stage);
  fields.take("stage_name", manifest.stage_name);
  fields.take("tokens", manifest.tokens);
  fields.take("vertex_parallel", manifest.vertex_parallel);
  fields.take("data_parallel", manifest.data_parallel);
  fields.take("topology", manifest.topology);
  fields.take("plan_hash", manifest.plan_hash);
  take_files(fields, manifest, where);
  take_tensors(fields, manifest, where);
  fields.refuse_others();
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& path) {
  return parse_manifest(read_text(path), path.string());
}

}  // namespace lmnet
