#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "data/stream.h"

namespace lmnet {

std::string StreamPosition::json(const std::string& fingerprint) const {
  std::string json = fmt::format("{{\"data\":\"{}\",\"sources\":[", fingerprint);
  for (const Share& share : shares) {
    const auto& [epoch, unit, block, record, text, passed] = share.place;
    fmt::format_to(std::back_inserter(json),
                   "{}{{\"epoch\":{},\"unit\":{},\"block\":[{},{},{},{}],\"record\":{},\"passed\":[{},{}],"
                   "\"tokens\":{},\"ended\":{}}}",
                   &share == shares.data() ? "" : ",", epoch, unit, block.record, block.line, block.offset, text,
                   record, passed.hash, passed.bytes, share.tokens, share.ended);
  }
  fmt::format_to(std::back_inserter(json), "],\"current\":{},\"taken\":{},\"carry\":{}}}", current, taken, carry);
  return json;
}

StreamPosition StreamPosition::parse(const std::string& json, const std::string& fingerprint) {
  try {
    const auto root = nlohmann::json::parse(json);
    if (const auto& shares = root.at("sources"); !shares.empty() && !shares.front().contains("passed"))
      throw DataError(
          "the stored data position is of an older version of LMNet, which dealt data otherwise: start a new run "
          "(run.name); model.load gives it these weights");
    if (root.at("data").get<std::string>() != fingerprint) {
      throw DataError(
          "the stored data position belongs to other data: the files, weights, seed, tokenizer, sequence length, "
          "packing and streams must be those the run was started with");
    }
    StreamPosition position{{}, root.at("current"), root.at("taken"), root.at("carry")};
    for (const auto& share : root.at("sources")) {
      const auto& block = share.at("block");
      const auto& passed = share.at("passed");
      position.shares.push_back({{share.at("epoch"),
                                  share.at("unit"),
                                  {block.at(0), block.at(1), block.at(2)},
                                  share.at("record"),
                                  block.at(3),
                                  {passed.at(0), passed.at(1)}},
                                 share.at("tokens"),
                                 share.at("ended")});
    }
    return position;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("the stored data position is damaged: {}", error.what()));
  }
}

}  // namespace lmnet
