#include "trainer/evaluate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/blanks.h"
#include "data/document.h"
#include "data/errors.h"
#include "data/format_file.h"
#include "data/loader.h"
#include "model/graph/errors.h"
#include "trainer/batch.h"
#include "trainer/describe.h"
#include "trainer/generation/decoder.h"
#include "trainer/generation/generator.h"
#include "trainer/model_spec.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

void add_loss(SavedNetwork& network, const Sequence& row, Item& item) {
  const LossSum sum = network.engine().loss(row);
  item.tokens = sum.targets;
  item.loss = sum.loss / static_cast<double>(std::max<int64_t>(1, sum.targets));
}

/// A record as a row of its own, as long as it is.
Sequence row_of(const SavedNetwork& network, const Record& record) {
  Document document = make_document(network.tokenizer(), record);
  if (record.prompt.empty()) {  // the start of a text, as in training
    document.tokens.insert(document.tokens.begin(), network.tokenizer().end_of_text());
    document.learn.insert(document.learn.begin(), 0);
  }
  TokenBatch batch;
  batch.rows = 1;
  batch.length = static_cast<int64_t>(document.tokens.size());
  batch.tokens = std::move(document.tokens);
  batch.learn = std::move(document.learn);
  return to_sequence(batch);
}

/// This rank's share.
std::vector<Record> read_share(const EvaluationOptions& options, const Format& format, int rank, int size) {
  const int64_t most = options.limit > 0 ? options.limit : std::numeric_limits<int64_t>::max();
  std::vector<Record> share;
  int64_t number = 0;
  for (const auto& file : expand(options.data)) {
    if (number == most) break;
    read_records(file, format, [&](int64_t, Record&& record) {
      if (number++ % size == rank) share.push_back(std::move(record));
      return number < most;
    });
  }
  if (number == 0) throw DataError(fmt::format("{}: there is no record in it", options.data));
  return share;
}

std::vector<Item> evaluate_records(SavedNetwork& network, const EvaluationOptions& options, const Format& format,
                                   int rank, int size, Console* console) {
  std::vector<Record> share = read_share(options, format, rank, size);
  std::vector<Item> items;
  std::vector<Prompt> prompts;
  const Advance advance = task_of(console, "losses of items");
  for (Record& record : share) {
    advance(std::ssize(items), std::ssize(share));
    Item& item = items.emplace_back();
    add_loss(network, row_of(network, record), item);
    prompts.push_back({"", prompt_tokens(network.tokenizer(), record)});
    item.prompt = std::move(record.prompt);
    item.answer = std::move(record.answer);
  }
  advance(std::ssize(items), std::ssize(share));
  if (options.max_new_tokens == 0) return items;
  Sampling greedy;
  greedy.max_new_tokens = options.max_new_tokens;
  const std::vector<Completion> completions =
      Generator(network).generate(prompts, greedy, {}, task_of(console, "answers"));
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].generates = true;
    items[i].generated = completions[i].text;
    items[i].match = trimmed(items[i].generated) == trimmed(items[i].answer);
  }
  return items;
}

std::vector<Item> evaluate_text(SavedNetwork& network, const EvaluationOptions& options, const Format& format, int rank,
                                int size, Console* console) {
  const std::vector<TokenBatch> rows = validation_batches({{options.data, format, 1}}, network.tokenizer(),
                                                          {network.sequence_length() + 1}, /*rows=*/1, options.limit);
  std::vector<Item> items;
  const Advance advance = task_of(console, "losses of sequences");
  for (size_t i = rank; i < rows.size(); i += size) {
    advance(static_cast<int64_t>(i), std::ssize(rows));
    add_loss(network, to_sequence(rows[i]), items.emplace_back());
  }
  advance(std::ssize(rows), std::ssize(rows));
  return items;
}

Json to_json(const Item& item) {
  Json json = {{"tokens", item.tokens}, {"loss", item.loss}};
  if (!item.generates && item.prompt.empty()) return json;
  json["prompt"] = item.prompt;
  json["answer"] = item.answer;
  if (!item.generates) return json;
  json["generated"] = item.generated;
  json["match"] = item.match;
  return json;
}

/// The items of all ranks in the order of the data, numbered.
std::vector<Json> gather_items(Communicator& world, const std::vector<Item>& mine) {
  Json list = Json::array();
  for (const Item& item : mine) list.push_back(to_json(item));
  const std::vector<Json> by_rank = gather_json(world, list);
  std::vector<Json> items;
  for (size_t i = 0; i / by_rank.size() < by_rank[i % by_rank.size()].size(); ++i) {
    Json item = {{"item", i}};
    item.update(by_rank[i % by_rank.size()][i / by_rank.size()]);
    items.push_back(std::move(item));
  }
  return items;
}

void write_items(const std::filesystem::path& file, const std::vector<Json>& items) {
  std::ofstream out(file);
  for (const Json& item : items) out << item.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  if (!out.flush()) throw ConfigError(fmt::format("--items: cannot write {}", file.string()));
}

void print_summary(const std::vector<Json>& items, bool json) {
  int64_t tokens = 0, generated = 0, matches = 0;
  double sum = 0;
  for (const Json& item : items) {
    tokens += item["tokens"].get<int64_t>();
    sum += item["loss"].get<double>() * item["tokens"].get<double>();
    generated += item.contains("match");
    matches += item.value("match", false);
  }
  const double loss = sum / static_cast<double>(std::max<int64_t>(1, tokens));
  const double match = static_cast<double>(matches) / static_cast<double>(std::max<int64_t>(1, generated));
  if (json) {
    const Json line = {{"items", items.size()},
                       {"tokens", tokens},
                       {"loss", loss},
                       {"perplexity", std::exp(loss)},
                       {"exact_match", generated > 0 ? Json(match) : Json()}};
    fmt::print("{}\n", line.dump());
    return;
  }
  fmt::print("{} · loss {:.4f} · perplexity {:.3f}{}\n", counted(std::ssize(items), "item"), loss, std::exp(loss),
             generated > 0 ? fmt::format(" · exact match {:.1f} %", 100 * match) : "");
}

}  // namespace

std::vector<Item> evaluate_items(SavedNetwork& network, const EvaluationOptions& options, int rank, int size,
                                 Console* console) {
  require_language_head(network.engine().network().shape());
  const Format format = parse_format(options.format);
  try {
    return format.has_prompt() ? evaluate_records(network, options, format, rank, size, console)
                               : evaluate_text(network, options, format, rank, size, console);
  } catch (const MisfitRecord& misfit) {
    throw DataError(fmt::format("{} (format {}; --format names another)", misfit.what(), options.format));
  }
}

int evaluate(Communicator& world, const std::filesystem::path& checkpoint, const EvaluationOptions& options) {
  std::vector<Item> mine;
  together(world, [&] {
    if (options.max_new_tokens < 0) throw ConfigError("--max-new-tokens takes a whole number from 0 (no answers) on");
    SavedNetwork network(checkpoint);
    std::optional<Console> console;
    if (world.rank() == 0) console.emplace(stderr);
    mine = evaluate_items(network, options, world.rank(), world.size(), console ? &*console : nullptr);
  });
  const std::vector<Json> items = gather_items(world, mine);
  together(world, [&] {
    if (world.rank() != 0) return;
    if (!options.items.empty()) write_items(options.items, items);
    print_summary(items, options.json);
  });
  return 0;
}

}  // namespace lmnet
