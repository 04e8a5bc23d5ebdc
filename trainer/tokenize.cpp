#include "trainer/tokenize.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "data/errors.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "model/graph/errors.h"
#include "trainer/config/words.h"

namespace lmnet {
namespace {

/// A word that is no tokenizer is a wrong call; what is wrong with one that is there is another matter.
void require_tokenizer(const std::string& name) {
  if (name == "bytes" || std::filesystem::exists(name)) return;
  throw ConfigError(fmt::format("{}: there is no such folder or tokenizer.json{}; the built-in tokenizer is bytes",
                                name, config::did_you_mean(name, std::array<std::string, 1>{"bytes"})));
}

/// The lines of one file, each printed with what it lacks.
class Lines {
 public:
  explicit Lines(const TokenizeOptions& options)
      : options_(options), tokenizer_(make_tokenizer(options.tokenizer)), file_(options.file) {
    if (file_.empty()) return;
    in_.open(file_, std::ios::binary);
    if (!in_.is_open() || std::filesystem::is_directory(file_))
      throw DataError(fmt::format("{}: cannot be read", file_));
  }

  void run() {
    std::istream& in = file_.empty() ? std::cin : in_;
    std::string line;
    while (std::getline(in, line)) {
      ++number_;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      convert(line);
      // Who writes the input line by line may wait for each answer.
      if (file_.empty()) std::fflush(stdout);
    }
    if (in.bad()) fail("cannot be read");
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw DataError(fmt::format("{}:{}: {}", file_.empty() ? "standard input" : file_, number_, what));
  }

  void convert(const std::string& line) {
    nlohmann::json record;
    try {
      record = nlohmann::json::parse(line);
    } catch (const nlohmann::json::parse_error& error) {
      fail(fmt::format("invalid JSON near byte {}", error.byte));
    }
    if (!record.is_object()) fail("is not a JSON object");
    ids_.clear();
    if (options_.decode || !record.contains("text")) {
      read_ids(record);
      const std::string bytes = options_.special ? tokenizer_->decode_special(ids_) : tokenizer_->decode(ids_);
      text_.clear();
      append_replaced(bytes, text_);
    } else {
      if (!record["text"].is_string()) fail("\"text\" is not text");
      text_ = record["text"].get<std::string>();
      options_.special ? tokenizer_->encode_special(text_, ids_) : tokenizer_->encode(text_, ids_);
    }
    print();
  }

  void read_ids(const nlohmann::json& record) {
    if (!record.contains("ids")) fail(options_.decode ? "has no \"ids\"" : "has neither \"text\" nor \"ids\"");
    const nlohmann::json& ids = record["ids"];
    if (!ids.is_array()) fail("\"ids\" is not a list");
    for (const auto& id : ids) {
      if (!id.is_number_integer() || id < 0 || id >= tokenizer_->vocabulary())
        fail(fmt::format("the id {} is not one of the {} of {}", id.dump(), tokenizer_->vocabulary(),
                         tokenizer_->name()));
      ids_.push_back(id.get<int32_t>());
    }
  }

  void print() {
    out_.clear();
    fmt::format_to(std::back_inserter(out_), "{{\"text\":{},\"ids\":[", nlohmann::json(text_).dump());
    for (size_t i = 0; i < ids_.size(); ++i)
      fmt::format_to(std::back_inserter(out_), "{}{}", i == 0 ? "" : ",", ids_[i]);
    out_ += "]}\n";
    std::fwrite(out_.data(), 1, out_.size(), stdout);
  }

  const TokenizeOptions& options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string file_;
  std::ifstream in_;
  size_t number_ = 0;
  std::string text_, out_;
  std::vector<int32_t> ids_;
};

}  // namespace

int tokenize(const TokenizeOptions& options) {
  require_tokenizer(options.tokenizer);
  Lines(options).run();
  return 0;
}

}  // namespace lmnet
