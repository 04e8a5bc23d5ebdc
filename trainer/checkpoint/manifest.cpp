#include "trainer/checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/hdf5_image.h"
#include "trainer/checkpoint/json_fields.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // for people; it is slow to look things up

constexpr int newest_format = 2;
constexpr const char* format_name = "lmnet checkpoint";
/// What the last line begins with: the CRC of all lines before it.
constexpr std::string_view last_line = "  \"crc32c\": ";

OrderedJson to_json(const ManifestTensor& tensor) {
  OrderedJson json = {
      {"dtype", hdf5_layout::name_of(tensor.dtype)}, {"shape", tensor.shape}, {"crc32c", tensor.crc32c}};
  if (!tensor.reference.empty()) {
    json["reference"] = tensor.reference;
    return json;
  }
  OrderedJson& pieces = json["pieces"] = OrderedJson::array();
  for (const ManifestPiece& piece : tensor.pieces)
    pieces.push_back(
        {{"file", piece.file}, {"offset", piece.offset}, {"length", piece.length}, {"crc32c", piece.crc32c}});
  return json;
}

void take_files(JsonFields& fields, Manifest& manifest) {
  for (const Json& entry : fields.list("files")) {
    JsonFields file = fields.inside(fmt::format("files[{}].", manifest.files.size()), entry);
    ManifestFile& read = manifest.files.emplace_back();
    file.take("name", read.name);
    file.take("bytes", read.bytes);
    file.take("crc32c", read.crc32c);
    file.refuse_others();
    if (read.name.empty() || read.name == "." || read.name == ".." || read.name.find('/') != std::string::npos)
      file.fail("name", "is not the name of a file in this folder");
  }
}

void take_references(JsonFields& fields, Manifest& manifest) {
  for (const auto& [name, entry] : fields.map("references").items()) {
    JsonFields reference = fields.inside(fmt::format("references.{}.", name), entry);
    ManifestReference& read = manifest.references[name];
    reference.take("kind", read.kind);
    reference.take("path", read.path);
    reference.take("hash", read.hash);
    reference.refuse_others();
    if (read.kind != "hugging_face" && read.kind != "checkpoint") reference.fail("kind", "is not known");
  }
}

void take_pieces(JsonFields& tensor, const std::string& path, const Manifest& manifest, ManifestTensor& read) {
  for (const Json& entry : tensor.list("pieces")) {
    JsonFields piece = tensor.inside(fmt::format("{}pieces[{}].", path, read.pieces.size()), entry);
    ManifestPiece& taken = read.pieces.emplace_back();
    piece.take("file", taken.file);
    piece.take("offset", taken.offset);
    piece.take("length", taken.length);
    piece.take("crc32c", taken.crc32c);
    piece.refuse_others();
    if (std::ranges::find(manifest.files, taken.file, &ManifestFile::name) == manifest.files.end())
      piece.fail("file", fmt::format("names {}, which is not among the files", taken.file));
  }
}

void take_tensors(JsonFields& fields, Manifest& manifest) {
  for (const auto& [name, entry] : fields.map("tensors").items()) {
    const auto path = fmt::format("tensors.{}.", name);
    JsonFields tensor = fields.inside(path, entry);
    ManifestTensor& read = manifest.tensors[name];
    std::string dtype;
    tensor.take("dtype", dtype);
    read.dtype = hdf5_layout::dtype_named(dtype);
    if (read.dtype == at::ScalarType::Undefined) tensor.fail("dtype", "is none of bf16, fp32, fp64 and int64");
    tensor.take("shape", read.shape);
    tensor.take("crc32c", read.crc32c);
    if (tensor.has("reference")) {
      tensor.take("reference", read.reference);
      if (!manifest.references.contains(read.reference)) tensor.fail("reference", "is not among the references");
    } else {
      take_pieces(tensor, path, manifest, read);
    }
    tensor.refuse_others();
  }
}

/// The text without its last line, when that fits it.
void check_text(const std::string& json, const std::string& where) {
  const size_t line = json.rfind(last_line);
  uint32_t crc = 0;
  if (line != std::string::npos) {
    crc = crc32c(std::as_bytes(std::span(json).first(line)));
    if (json.substr(line) == fmt::format("{}{}\n}}\n", last_line, crc)) return;
  }
  throw CheckpointError(where + ": damaged, its text does not match its checksum");
}

}  // namespace

void add_file(Manifest& manifest, const std::string& name, const TensorFileWriter::Summary& summary) {
  manifest.files.push_back({name, summary.bytes, summary.crc32c});
  for (const StoredTensor& stored : summary.tensors) {
    ManifestTensor& tensor = manifest.tensors[stored.name];
    tensor.dtype = stored.dtype;
    tensor.shape = stored.shape;
    tensor.pieces.push_back({name, stored.offset, stored.length, stored.crc32c});
  }
}

void add_part(Manifest& manifest, Manifest part) {
  manifest.references.insert(part.references.begin(), part.references.end());
  manifest.files.insert(manifest.files.end(), part.files.begin(), part.files.end());
  for (auto& [name, tensor] : part.tensors) {
    const auto [found, added] = manifest.tensors.try_emplace(name, tensor);
    if (added) continue;
    ManifestTensor& known = found->second;
    if (known.dtype != tensor.dtype || known.shape != tensor.shape)
      throw CheckpointError(fmt::format("tensor '{}' is of another shape or dtype in {} than in {}", name,
                                        tensor.pieces.front().file, known.pieces.front().file));
    known.pieces.insert(known.pieces.end(), tensor.pieces.begin(), tensor.pieces.end());
  }
}

void complete_tensors(Manifest& manifest) {
  for (auto& [name, tensor] : manifest.tensors) {
    if (!tensor.reference.empty()) continue;
    std::ranges::sort(tensor.pieces, {},
                      [](const ManifestPiece& piece) { return std::pair(piece.offset, piece.length); });
    int64_t end = 0;
    tensor.crc32c = 0;
    for (const ManifestPiece& piece : tensor.pieces) {
      if (piece.offset < end)
        throw CheckpointError(fmt::format("tensor '{}' was written twice, into {} too", name, piece.file));
      if (piece.offset > end) break;
      const uint64_t bytes = static_cast<uint64_t>(piece.length) * c10::elementSize(tensor.dtype);
      tensor.crc32c = crc32c_join(tensor.crc32c, piece.crc32c, bytes);
      end += piece.length;
    }
    if (end != tensor.elements())
      throw CheckpointError(fmt::format("of tensor '{}' nobody wrote what comes after element {}", name, end));
  }
}

std::string to_json(const Manifest& manifest) {
  OrderedJson json = {
      {"format", format_name},
      {"format_version", newest_format},
      {"update", manifest.update},
      {"tokens", manifest.tokens},
      {"stage", manifest.stage},
      {"stage_name", manifest.stage_name},
      {"topology", manifest.topology},
      {"precision", manifest.precision},
      {"trains", manifest.trains},
      {"layout", {{"data", manifest.data_parallel}, {"vertex", manifest.vertex_parallel}, {"zero", manifest.zero}}},
      {"plan_hash", manifest.plan_hash},
      {"config_hash", manifest.config_hash},
      {"tokenizer_hash", manifest.tokenizer_hash},
      {"validation_loss", nullptr},
      {"files", OrderedJson::array()},
      {"references", OrderedJson::object()}};
  if (manifest.validation_loss) json["validation_loss"] = *manifest.validation_loss;
  for (const ManifestFile& file : manifest.files)
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"crc32c", file.crc32c}});
  for (const auto& [name, reference] : manifest.references)
    json["references"][name] = {{"kind", reference.kind}, {"path", reference.path}, {"hash", reference.hash}};
  OrderedJson::object_t tensors;
  for (const auto& [name, tensor] : manifest.tensors) tensors.emplace_back(name, to_json(tensor));
  json["tensors"] = std::move(tensors);
  std::string text = json.dump(2);
  text.replace(text.rfind("\n}"), std::string::npos, ",\n");
  return fmt::format("{}{}{}\n}}\n", text, last_line, crc32c(std::as_bytes(std::span(text))));
}

Manifest parse_manifest(const std::string& json, const std::string& where) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) throw CheckpointError(where + ": not JSON; the file is incomplete or damaged");
  JsonFields fields(root, where, "");
  int version = 0;
  fields.take("format_version", version);
  if (version != newest_format)
    fields.fail("format_version",
                fmt::format("{} is not {}; read the checkpoint with the lmnet that wrote it", version, newest_format));
  check_text(json, where);
  Manifest manifest;
  std::string format;
  uint32_t crc = 0;
  fields.take("format", format);
  if (format != format_name) fields.fail("format", fmt::format("is not '{}'", format_name));
  fields.take("crc32c", crc);
  fields.take("update", manifest.update);
  fields.take("tokens", manifest.tokens);
  fields.take("stage", manifest.stage);
  fields.take("stage_name", manifest.stage_name);
  fields.take("topology", manifest.topology);
  fields.take("precision", manifest.precision);
  fields.take("trains", manifest.trains);
  JsonFields layout = fields.inside("layout.", fields.map("layout"));
  layout.take("data", manifest.data_parallel);
  layout.take("vertex", manifest.vertex_parallel);
  layout.take("zero", manifest.zero);
  layout.refuse_others();
  fields.take("plan_hash", manifest.plan_hash);
  fields.take("config_hash", manifest.config_hash);
  fields.take("tokenizer_hash", manifest.tokenizer_hash);
  fields.take("validation_loss", manifest.validation_loss);
  take_files(fields, manifest);
  take_references(fields, manifest);
  take_tensors(fields, manifest);
  fields.refuse_others();
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& path) {
  return parse_manifest(read_text(path), path.string());
}

}  // namespace lmnet
