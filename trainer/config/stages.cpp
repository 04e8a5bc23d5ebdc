#include "trainer/config/stages.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "trainer/config/words.h"

namespace lmnet::config {
namespace {

using enum Span::Unit;
using Rates = std::map<std::string, double>;

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

/// A number is the rate of everything; a mapping says it by group.
Codec<Rates> rates() {
  const Codec<double> rate = real(zero_or_above());
  const std::string allowed = "a number, 0 or above, or a mapping of trained groups and default to such numbers";
  return {allowed,
          [=](const Node& node, const std::string& path) -> Rates {
            if (node.kind == Node::Kind::scalar) return {{"default", rate.read(node, path)}};
            if (node.kind != Node::Kind::map) refuse(node, path, allowed);
            Rates rates;
            for (const Node& entry : node.items) rates[entry.key] = rate.read(entry, join(path, entry.key));
            return rates;
          },
          [=](const Rates& rates) {
            Node node{.kind = rates.empty() ? Node::Kind::null : Node::Kind::map};
            if (rates.size() == 1 && rates.contains("default")) return rate.write(rates.at("default"));
            for (const auto& [group, value] : rates) node.items.emplace_back(rate.write(value)).key = group;
            return node;
          }};
}

/// Each trained group needs a rate, and each rate a trained group.
void check_rates(const StageConfig& stage, const Node& node, const std::string& path) {
  const std::string lr = join(path, "lr");
  std::vector<std::string> known = stage.trains;
  known.emplace_back("default");
  for (const auto& [group, rate] : stage.lr) {
    if (contains(known, group)) continue;
    fail(place_of(node, "lr", "trains"), fmt::format("{}: the stage does not train \"{}\" but {}{}", lr, group,
                                                     fmt::join(stage.trains, ", "), did_you_mean(group, known)));
  }
  for (const std::string& group : stage.trains) {
    if (stage.lr.contains("default") || stage.lr.contains(group)) continue;
    fail(place_of(node, "lr", "trains"),
         fmt::format("{0}: there is no rate for {1}, which the stage trains, add \"{1}: …\" or \"default: …\"", lr,
                     group));
  }
}

}  // namespace

Mapping<StageConfig> stage_keys() {
  const std::string groups = "a list of edges, vertices, embeddings, head and prefix";
  const auto group = choice({"edges", "vertices", "embeddings", "head", "prefix"}, {"adapters"});
  Codec<Span> until = length({updates, tokens, epochs});
  until.write = [write = until.write](const Span& span) { return span.value == 0 ? Node{} : write(span); };
  Mapping<StageConfig> keys;
  keys.key("name", &StageConfig::name, given(text()), "without it the trained groups joined by +")
      .key("trains", &StageConfig::trains, set_of(group, groups, false),
           "the groups that train; a tied head is in embeddings", Need::always)
      .key("until", &StageConfig::until, until, "its length, counted from its own start", Need::always)
      .key("lr", &StageConfig::lr, rates(), "peak learning rate, of all groups or by group", Need::always)
      .key("schedule", &StageConfig::schedule,
           one_of<ScheduleKind>({{"constant", ScheduleKind::constant},
                                 {"linear", ScheduleKind::linear},
                                 {"cosine", ScheduleKind::cosine}}),
           "linear and cosine end at 0")
      .key("warmup", &StageConfig::warmup, length({updates, tokens}, true), "linear rise from 0, part of the stage")
      .check(check_rates);
  return keys;
}

void name_stages(std::vector<StageConfig>& stages, const Node& node, const std::string& path) {
  std::vector<std::string> names;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (stages[i].name.empty()) continue;
    if (contains(names, stages[i].name)) {
      fail(node.items[i].find("name")->where,
           fmt::format("{}: another stage is called \"{}\" already, give it a name of its own",
                       join(join(path, i), "name"), stages[i].name));
    }
    names.push_back(stages[i].name);
  }
  for (StageConfig& stage : stages) {
    if (!stage.name.empty()) continue;
    const std::string base = fmt::format("{}", fmt::join(stage.trains, "+"));
    stage.name = base;
    for (int number = 2; contains(names, stage.name); ++number) stage.name = fmt::format("{}-{}", base, number);
    names.push_back(stage.name);
  }
}

}  // namespace lmnet::config
