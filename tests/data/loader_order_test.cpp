// The order of the data is one function of its options, whoever reads it and however often it is stopped.
#include <gmock/gmock.h>

#include <map>
#include <numeric>
#include <random>
#include <set>

#include "data/loader.h"
#include "data/prepare.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

/// Raw data, or the same prepared.
class LoaderOrderTest : public testing::Test {
 protected:
  LoaderOrderTest() {
    for (int i = 0; i < 8; ++i)
      folder_.write(fmt::format("shard-{}.jsonl.gz", i), test::c4_lines(fmt::format("s{}", i), 0, 200));
    folder_.write("plain.jsonl", test::c4_lines("p", 0, 333));
    sources_ = {{folder_.path("shard-*"), parse_format("c4"), 0.7, {}, {}},
                {folder_.path("plain.jsonl"), parse_format("c4"), 0.3, {}, {}}};
  }

  /// Tokenises the sources, which are then folders.
  void prepare() {
    for (size_t i = 0; i < sources_.size(); ++i) {
      const std::string folder = folder_.path(fmt::format("prepared-{}", i));
      Preparation preparation(expand(sources_[i].path), sources_[i].format, *tokenizer_, folder);
      preparation.shard_tokens = preparation.batch_bytes = 2000;
      std::vector<int64_t> files(preparation.files.size());
      std::iota(files.begin(), files.end(), 0);
      begin_preparation(preparation);
      prepare_files(preparation, files, 2, [](const PreparationProgress&) {});
      finish_preparation(preparation);
      sources_[i].path = folder;
      sources_[i].format = parse_format("prepared");
    }
  }

  std::vector<Loader> loaders(int ranks) const {
    std::vector<Loader> all;
    for (int rank = 0; rank < ranks; ++rank) all.emplace_back(sources_, *tokenizer_, options_, rank, ranks);
    return all;
  }

  /// Appends the sequences of the next global batch, each as text of tokens and mask, in order of position.
  static void append(std::vector<Loader>& loaders, std::vector<std::string>& sequences) {
    std::map<int64_t, std::string> rows;
    for (Loader& loader : loaders) {
      const TokenBatch batch = loader.next();
      for (int64_t i = 0; i < batch.rows; ++i) {
        std::string& row = rows[batch.positions[i]];
        for (int64_t t = i * batch.length; t < (i + 1) * batch.length; ++t)
          row += fmt::format("{}{} ", batch.tokens[t], batch.learn[t] ? "" : "-");
      }
    }
    for (auto& [position, row] : rows) sequences.push_back(std::move(row));
  }

  std::vector<std::string> sequences(int ranks, int readers, size_t count) {
    options_.readers = readers;
    auto all = loaders(ranks);
    std::vector<std::string> found;
    while (found.size() < count) append(all, found);
    found.resize(count);
    return found;
  }

  TempFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
  std::vector<Source> sources_;
  LoaderOptions options_{
      .seed = 5, .sequence_length = 24, .packing = true, .global_batch = 16, .streams = 8, .readers = 0};
};

class LoaderOrderOf : public LoaderOrderTest, public testing::WithParamInterface<bool> {
 protected:
  LoaderOrderOf() {
    if (GetParam()) prepare();
  }
};
INSTANTIATE_TEST_SUITE_P(Data, LoaderOrderOf, testing::Bool(),
                         [](const auto& data) { return data.param ? "prepared" : "raw"; });

TEST_P(LoaderOrderOf, is_the_same_for_any_number_of_replicas_and_readers) {
  constexpr size_t count = 10'000;
  const auto expected = sequences(1, 0, count);
  for (const int ranks : {1, 2, 4})
    for (const int readers : {1, 2, 8}) {
      SCOPED_TRACE(fmt::format("{} ranks, {} readers", ranks, readers));
      EXPECT_TRUE(sequences(ranks, readers, count) == expected);
    }
}

TEST_P(LoaderOrderOf, goes_on_exactly_after_50_stops_at_random_points_on_random_numbers_of_ranks_and_readers) {
  std::mt19937 random(11);
  const auto any = [&](std::initializer_list<int> values) { return values.begin()[random() % values.size()]; };
  std::vector<std::string> found;
  std::vector<StreamState> states;
  for (int start = 0; start < 51; ++start) {
    options_.readers = any({0, 1, 2, 5});
    auto all = loaders(any({1, 2, 4, 8}));
    if (start > 0)
      for (Loader& loader : all) loader.restore(states);
    for (int updates = any({0, 1, 2, 3, 7, 20, 40}); updates > 0; --updates) append(all, found);
    states.clear();
    for (const Loader& loader : all)
      for (auto& state : loader.state()) states.push_back(std::move(state));
  }
  EXPECT_GT(found.size(), 2000u);
  EXPECT_TRUE(found == sequences(1, 0, found.size()));
}

TEST_F(LoaderOrderTest, tells_of_bad_records_with_the_same_updates_whoever_reads_and_however_often_it_stops) {
  for (const char* name : {"shard-3.jsonl.gz", "shard-4.jsonl.gz", "plain.jsonl"}) {
    std::string lines = test::c4_lines("bad", 0, 150);
    for (int i = 3; i < 150; i += 11) lines.replace(lines.find(fmt::format("bad:{}.", i)) - 8, 6, "\"txet\"");
    folder_.write(name, lines);
  }
  for (Source& source : sources_) source.format = source.format.skipping_bad_records(9);
  constexpr int updates = 150;
  using Met = std::set<std::pair<std::filesystem::path, int64_t>>;
  /// What was met until each update; the loaders are made anew after every `stride` updates.
  const auto met_by_update = [&](int ranks, int readers, int stride) {
    options_.readers = readers;
    std::vector<Met> by_update(1);
    std::vector<StreamState> states;
    std::vector<std::string> sequences;
    for (int update = 0; update < updates;) {
      auto all = loaders(ranks);
      for (Loader& loader : all)
        if (update > 0) loader.restore(states);
      for (int end = std::min(updates, update + stride); update < end; ++update) {
        append(all, sequences);
        Met met = by_update.back();
        for (Loader& loader : all)
          for (const SkippedRecord& bad : loader.take_skipped()) met.emplace(bad.file, bad.record);
        by_update.push_back(std::move(met));
      }
      states.clear();
      for (const Loader& loader : all)
        for (auto& state : loader.state()) states.push_back(std::move(state));
    }
    return by_update;
  };
  const auto expected = met_by_update(1, 0, updates);
  EXPECT_EQ(expected.back().size(), 3u * 14);
  EXPECT_LT(expected[1].size(), expected.back().size());
  EXPECT_TRUE(met_by_update(4, 0, updates) == expected);
  EXPECT_TRUE(met_by_update(2, 3, updates) == expected);
  EXPECT_TRUE(met_by_update(1, 2, 7) == expected);
  EXPECT_TRUE(met_by_update(8, 0, 5) == expected);
}

TEST_F(LoaderOrderTest, takes_every_record_of_whole_shards_once_an_epoch) {
  // Shards of some size: text that the texts' names stand out of.
  sources_.erase(sources_.begin() + 1, sources_.end());
  for (int i = 0; i < 8; ++i) {
    std::string lines;
    for (int r = 0; r < 60; ++r)
      lines += fmt::format("{{\"text\":\"<{}:{}>{}\"}}\n", i, r, std::string(40'000 + 100 * r, 'x'));
    folder_.write(fmt::format("large-{}.jsonl", i), lines);
  }
  sources_[0].path = folder_.path("large-*");
  sources_[0].epochs = 1;
  options_ = {.seed = 1, .sequence_length = 9, .packing = false, .global_batch = 8, .streams = 4, .readers = 3};
  auto all = loaders(2);
  std::map<std::string, int> times;
  for (int update = 0; update < 60; ++update)
    for (Loader& loader : all) {
      const TokenBatch batch = loader.next();
      for (int64_t i = 0; i < batch.rows; ++i) {
        std::string name;
        for (int64_t t = i * batch.length; batch.tokens[t] != '>'; ++t) name += static_cast<char>(batch.tokens[t]);
        ++times[name];
      }
    }
  EXPECT_EQ(times.size(), 480u);
  for (const auto& [name, count] : times) EXPECT_EQ(count, 1) << name;
  EXPECT_THAT(test::data_error([&] { all[0].next(); }), testing::HasSubstr("the training data is used up"));
}

TEST_F(LoaderOrderTest, takes_every_document_of_prepared_data_once_an_epoch) {
  sources_.erase(sources_.begin());
  prepare();
  sources_[0].epochs = 1;
  options_ = {.seed = 1, .sequence_length = 40, .packing = false, .global_batch = 9, .streams = 9, .readers = 0};
  std::map<std::string, int> times;
  for (Loader& stream : loaders(9)) {
    const auto take_all = [&] {
      while (true) ++times[tokenizer_->decode(stream.next().tokens)];
    };
    EXPECT_THAT(test::data_error(take_all), testing::HasSubstr("the training data is used up"));
  }
  EXPECT_EQ(times.size(), 333u);
  for (const auto& [text, count] : times) EXPECT_EQ(count, 1) << text;
}

TEST_F(LoaderOrderTest, tells_what_is_wrong_when_the_rows_before_it_are_taken) {
  sources_.erase(sources_.begin() + 1, sources_.end());
  options_ = {.seed = 1, .sequence_length = 4, .packing = false, .global_batch = 1, .streams = 1, .readers = 2};
  // Too large to be looked through at the start; the bad record stands in the second block.
  std::string lines;
  for (int i = 0; i < 600; ++i) lines += fmt::format("{{\"text\":\"{}\"}}\n", std::string(30'000, 'x'));
  sources_[0].path = folder_.write("bad.jsonl", lines + "{\n");
  auto all = loaders(1);
  for (int row = 0; row < 560; ++row) all[0].next();
  const auto all_rows = [&] {
    for (int row = 0; row < 60; ++row) all[0].next();
  };
  EXPECT_THAT(test::data_error(all_rows), testing::HasSubstr("bad.jsonl: record 600 (line 601)"));
}

TEST_F(LoaderOrderTest, stops_a_source_at_its_tokens_and_mixes_the_others_on) {
  options_ = {.seed = 1, .sequence_length = 50, .packing = true, .global_batch = 4, .streams = 4, .readers = 0};
  folder_.write("a.txt", "a");
  folder_.write("b.txt", std::string(30, 'b'));
  std::string a, b;
  for (int i = 0; i < 8; ++i) a += "a\n\n", b += std::string(30, 'b') + "\n\n";
  sources_ = {{folder_.write("a.txt", a), parse_format("text"), 1, {}, 400},
              {folder_.write("b.txt", b), parse_format("text"), 1, {}, {}}};
  auto all = loaders(1);
  int64_t count = 0, late = 0;
  for (int update = 0; update < 40; ++update) {
    const TokenBatch batch = all[0].next();
    const auto letters = std::count(batch.tokens.begin(), batch.tokens.end(), 'a');
    count += letters;
    if (update > 20) late += letters;
  }
  EXPECT_NEAR(static_cast<double>(count), 200, 8);  // as many ends of text
  EXPECT_EQ(late, 0);
}

TEST_F(LoaderOrderTest, positions_are_small_and_quickly_told) {
  options_.streams = options_.global_batch = 256;
  options_.readers = 2;
  auto all = loaders(1);
  all[0].next();
  for (const StreamState& state : all[0].state()) EXPECT_LT(state.position.size(), 400u);
}

}  // namespace
}  // namespace lmnet
