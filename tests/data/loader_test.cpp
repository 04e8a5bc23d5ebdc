#include "data/loader.h"

#include <gmock/gmock.h>

#include <map>
#include <random>
#include <set>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::data_error;
using test::TempFolder;
using testing::HasSubstr;

class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    for (int i = 0; i < 9; ++i)
      folder_.write(fmt::format("shard-{}.jsonl.gz", i), test::c4_lines(fmt::format("s{}", i), 0, 30));
    folder_.write("few.jsonl", test::c4_lines("f", 0, 70));
    std::string alpaca = "[";
    for (int i = 0; i < 50; ++i) {
      alpaca += fmt::format("{}{{\"instruction\":\"add {}\",\"input\":\"{}\",\"output\":\"{}\"}}", i ? ",\n" : "", i,
                            i % 2 ? "in" : "", i * 100);
    }
    folder_.write("alpaca.json", alpaca + "]");
    sources_ = {{folder_.path("shard-*"), parse_format("c4"), 0.6},
                {folder_.path("few.jsonl"), parse_format("c4"), 0.3},
                {folder_.path("alpaca.json"), parse_format("alpaca"), 0.1}};
  }

  Loader loader(int rank = 0, int ranks = 1) const { return {sources_, *tokenizer_, options_, rank, ranks}; }

  std::vector<Loader> loaders(int ranks) const {
    std::vector<Loader> all;
    for (int rank = 0; rank < ranks; ++rank) all.push_back(loader(rank, ranks));
    return all;
  }

  /// The rows of the next global batch, by position.
  static std::map<int64_t, std::pair<std::vector<int32_t>, std::vector<uint8_t>>> next(std::vector<Loader>& loaders) {
    std::map<int64_t, std::pair<std::vector<int32_t>, std::vector<uint8_t>>> rows;
    for (Loader& loader : loaders) {
      const TokenBatch batch = loader.next();
      EXPECT_TRUE(std::is_sorted(batch.positions.begin(), batch.positions.end()));
      EXPECT_EQ(batch.tokens.size(), static_cast<size_t>(batch.rows * batch.length));
      EXPECT_EQ(batch.learn.size(), batch.tokens.size());
      for (int64_t i = 0; i < batch.rows; ++i) {
        const int64_t from = i * batch.length, to = from + batch.length;
        rows[batch.positions[i]] = {{batch.tokens.begin() + from, batch.tokens.begin() + to},
                                    {batch.learn.begin() + from, batch.learn.begin() + to}};
      }
    }
    return rows;
  }

  static std::vector<StreamState> state(const std::vector<Loader>& loaders) {
    std::vector<StreamState> states;
    for (const Loader& loader : loaders) {
      for (auto& stream : loader.state()) states.insert(states.begin(), std::move(stream));
    }
    return states;
  }

  TempFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
  std::vector<Source> sources_;
  LoaderOptions options_{.seed = 3, .sequence_length = 40, .packing = true, .global_batch = 16, .streams = 8};
};

TEST(DefaultStreams, are_the_global_batch_up_to_1024_then_its_largest_divisor_that_the_ranks_divide) {
  EXPECT_EQ(default_streams(8, 2), 8);
  EXPECT_EQ(default_streams(1024, 4), 1024);
  EXPECT_EQ(default_streams(2048, 4), 1024);
  EXPECT_EQ(default_streams(3000, 3), 750);
  EXPECT_EQ(default_streams(3000, 1), 1000);
  EXPECT_EQ(default_streams(4096, 2048), 2048);
  EXPECT_THAT(data_error([] { default_streams(8, 3); }), HasSubstr("must divide train.global_batch 8"));
}

TEST_F(LoaderTest, gives_the_same_order_for_any_number_of_ranks) {
  for (const bool packing : {true, false}) {
    options_.packing = packing;
    options_.sequence_length = packing ? 40 : 250;
    auto one = loaders(1), two = loaders(2), four = loaders(4), eight = loaders(8);
    for (int update = 0; update < 12; ++update) {
      const auto rows = next(one);
      ASSERT_EQ(rows.size(), 16u);
      EXPECT_EQ(next(two), rows);
      EXPECT_EQ(next(four), rows);
      EXPECT_EQ(next(eight), rows);
    }
  }
}

TEST_F(LoaderTest, feeds_position_k_from_stream_k_modulo_the_streams) {
  EXPECT_THAT(loader(1, 4).next().positions, testing::ElementsAre(2, 3, 10, 11));
}

TEST_F(LoaderTest, orders_by_seed) {
  auto one = loaders(1);
  const auto first = next(one);
  options_.seed = 4;
  auto other = loaders(1);
  EXPECT_NE(next(other), first);
}

TEST_F(LoaderTest, hashes_sum_to_the_same_on_any_number_of_ranks) {
  auto one = loaders(1), four = loaders(4);
  std::set<uint64_t> seen;
  for (int update = 0; update < 5; ++update) {
    const uint64_t whole = batch_hash(one[0].next());
    uint64_t sum = 0;
    for (Loader& part : four) sum += batch_hash(part.next());
    EXPECT_EQ(sum, whole);
    EXPECT_TRUE(seen.insert(whole).second);
  }
}

TEST_F(LoaderTest, hash_tells_token_mask_position_and_documents) {
  const TokenBatch batch{2, 2, {1, 2, 3, 4}, {0, 1, 0, 1}, {}, {0, 1}};
  std::set<uint64_t> hashes{batch_hash(batch)};
  for (int change = 0; change < 5; ++change) {
    TokenBatch other = batch;
    if (change == 0) other.tokens[3] = 5;
    if (change == 1) other.learn[3] = 0;
    if (change == 2) other.positions = {1, 0};
    if (change == 3) other.tokens = {2, 1, 3, 4};
    if (change == 4) other.starts = {0, 1, 0, 0};
    EXPECT_TRUE(hashes.insert(batch_hash(other)).second) << change;
  }
}

TEST_F(LoaderTest, goes_on_exactly_from_any_point_on_any_number_of_ranks_again_and_again) {
  std::mt19937 random(7);
  for (const bool packing : {true, false}) {
    for (const int64_t length : {5, 40, 300}) {
      options_.packing = packing;
      options_.sequence_length = packing ? length : length + 200;
      auto whole = loaders(1), parts = loaders(2);
      for (int stop = 0; stop < 6; ++stop) {
        for (int update = static_cast<int>(random() % 9); update > 0; --update) EXPECT_EQ(next(parts), next(whole));
        const auto states = state(parts);
        parts = loaders(1 << random() % 4);
        for (Loader& part : parts) part.restore(states);
        for (const auto& stream : states) EXPECT_LT(stream.position.size(), 600u);
      }
      EXPECT_EQ(next(parts), next(whole));
    }
  }
}

TEST_F(LoaderTest, tells_documents_apart_with_any_number_of_readers_and_after_a_restart) {
  options_.documents = true;
  auto one = loader();
  options_.readers = 3;
  auto other = loader();
  int64_t starts = 0;
  for (int update = 0; update < 9; ++update) {
    const TokenBatch expected = one.next(), batch = other.next();
    EXPECT_EQ(batch.tokens, expected.tokens);
    EXPECT_EQ(batch.starts, expected.starts);
    EXPECT_EQ(batch_hash(batch), batch_hash(expected));
    starts += std::count(batch.starts.begin(), batch.starts.end(), 1);
    if (update == 4) {
      auto again = loader();
      again.restore(one.state());
      other = std::move(again);
    }
  }
  EXPECT_GT(starts, 100);
}

TEST_F(LoaderTest, goes_back_when_restored_in_use) {
  auto one = loaders(1);
  next(one);
  const auto states = one[0].state();
  const auto expected = next(one);
  next(one);
  one[0].restore(states);
  EXPECT_EQ(next(one), expected);
}

TEST_F(LoaderTest, refuses_states_of_missing_streams_other_data_or_damage) {
  auto one = loader();
  auto states = one.state();
  auto fewer = states;
  fewer.erase(fewer.begin() + 5);
  EXPECT_THAT(data_error([&] { one.restore(fewer); }), HasSubstr("lack stream 5 of 8"));
  auto damaged = states;
  damaged[0].position.resize(20);
  EXPECT_THAT(data_error([&] { one.restore(damaged); }), HasSubstr("damaged"));
  folder_.write("shard-9.jsonl.gz", test::c4_lines("new", 0, 3));
  EXPECT_THAT(data_error([&] { loader().restore(states); }), HasSubstr("belongs to other data"));
}

/// Eight shards of C4 that are not read at the start: each goes to one of two streams.
class ReplacedShard : public LoaderTest {
 protected:
  ReplacedShard() {
    for (int i = 0; i < 8; ++i) whole_.push_back(TempFolder::gzip_member(lines(i, 600)));
    for (int i = 0; i < 8; ++i) folder_.write_bytes(name(i), whole_[i]);
    sources_ = {{folder_.path("big-*"), parse_format("c4"), 1}};
    options_ = {.seed = 3, .sequence_length = 2000, .packing = true, .global_batch = 2, .streams = 2};
  }

  static std::string name(int shard) { return fmt::format("big-{}.jsonl.gz", shard); }
  /// Records of 5 KiB that do not compress much.
  static std::string lines(int shard, int count) {
    std::mt19937 random(static_cast<unsigned>(shard));
    std::string lines;
    for (int i = 0; i < count; ++i) {
      lines += fmt::format("{{\"text\":\"{}:{}.", shard, i);
      for (int c = 0; c < 5000; ++c) lines += static_cast<char>('#' + random() % 57);
      lines += "\"}\n";
    }
    return lines;
  }

  /// The batches from `states` on, up to so many or a fault, which is returned; `states` is then that of the last one.
  std::string go_on(std::vector<StreamState>& states, int count, std::vector<std::vector<int32_t>>& batches) const {
    Loader one = loader();
    if (!states.empty()) one.restore(states);
    try {
      for (; count > 0; --count) {
        batches.push_back(one.next().tokens);
        states = one.state();
      }
      return "";
    } catch (const DataError& error) {
      return error.what();
    }
  }

  std::vector<std::string> whole_;
};

TEST_F(ReplacedShard, that_was_cut_off_is_read_on_from_where_the_run_met_the_damage) {
  std::vector<std::vector<int32_t>> expected, found;
  std::vector<StreamState> states, none;
  for (int i = 0; i < 8; ++i) folder_.write_bytes(name(i), whole_[i].substr(0, whole_[i].size() - 99'999));
  const std::string fault = go_on(states, 99'999, found);
  EXPECT_THAT(fault, HasSubstr(".jsonl.gz: record "));
  EXPECT_THAT(fault, HasSubstr("the file is cut off); fetch the file again"));
  ASSERT_GT(found.size(), 100u);
  for (int i = 0; i < 8; ++i) folder_.write_bytes(name(i), whole_[i]);
  EXPECT_EQ(go_on(states, 6000, found), "");
  EXPECT_EQ(go_on(none, static_cast<int>(found.size()), expected), "");
  EXPECT_TRUE(found == expected);
}

TEST_F(ReplacedShard, is_refused_by_name_where_the_run_has_read_it_to_its_end) {
  std::vector<std::vector<int32_t>> batches;
  std::vector<StreamState> states;
  ASSERT_EQ(go_on(states, 4000, batches), "");
  std::string fault;
  for (int i = 0; i < 8; ++i) {
    folder_.write_bytes(name(i), TempFolder::gzip_member(lines(i, 700)));
    std::string met;
    try {
      loader().restore(states);
    } catch (const DataError& error) {
      met = error.what();
    }
    if (!met.empty()) {
      fault = met;
      EXPECT_THAT(met, HasSubstr(fmt::format("{}: has {} bytes, and had {} when the run read it; put the file back",
                                             folder_.path(name(i)), std::filesystem::file_size(folder_.path(name(i))),
                                             whole_[i].size())));
    }
    folder_.write_bytes(name(i), whole_[i]);
  }
  EXPECT_FALSE(fault.empty());
  loader().restore(states);
  for (int i = 0; i < 8; ++i) folder_.write_bytes(name(i), TempFolder::gzip_member(lines(i, 700)));
  EXPECT_THAT(data_error([&] { loader().restore(states); }), HasSubstr("files have other sizes than when the run"));
}

TEST_F(ReplacedShard, is_refused_by_name_where_other_records_lie_at_the_position) {
  std::vector<std::vector<int32_t>> batches;
  std::vector<StreamState> states;
  ASSERT_EQ(go_on(states, 10, batches), "");
  for (int i = 0; i < 8; ++i) folder_.write_bytes(name(i), TempFolder::gzip_member(lines(i + 8, 600)));
  EXPECT_THAT(data_error([&] {
                Loader one = loader();
                one.restore(states);
                one.next();
              }),
              HasSubstr("on are not those that the run has read there; put the file back as it was"));
}

TEST_F(LoaderTest, gives_every_record_of_a_source_once_an_epoch_over_all_streams) {
  sources_ = {{folder_.path("few.jsonl"), parse_format("c4"), 1}};
  options_ = {.seed = 1, .sequence_length = 99, .packing = false, .global_batch = 7, .streams = 7};
  auto one = loader();
  std::set<std::vector<int32_t>> seen;
  for (int update = 0; update < 10; ++update) {
    const TokenBatch batch = one.next();
    for (int64_t i = 0; i < batch.rows; ++i) {
      seen.insert({batch.tokens.begin() + i * batch.length, batch.tokens.begin() + (i + 1) * batch.length});
    }
  }
  EXPECT_EQ(seen.size(), 70u);
}

TEST_F(LoaderTest, learns_each_packed_answer_exactly_once_an_epoch) {
  sources_ = {{folder_.path("alpaca.json"), parse_format("alpaca"), 1}};
  options_ = {.seed = 1, .sequence_length = 30, .packing = true, .global_batch = 1, .streams = 1};
  auto one = loader();
  std::string learnt;
  std::map<std::string, int> answers;
  for (int ends = 0; ends < 100;) {
    const TokenBatch batch = one.next();
    for (int64_t i = 0; i < batch.length && ends < 100; ++i) {
      if (!batch.learn[i]) continue;
      if (batch.tokens[i] != 256) {
        learnt += static_cast<char>(batch.tokens[i]);
      } else {
        ++answers[std::exchange(learnt, "")];
        ++ends;
      }
    }
  }
  EXPECT_EQ(answers.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(answers[std::to_string(i * 100)], 2) << i;
}

TEST_F(LoaderTest, mixes_sources_by_their_share_of_tokens) {
  folder_.write("short.txt", "a\n\naa\n\naaa\n\naaaa\n\na");
  folder_.write("long.txt", std::string(700, 'b') + "\n\n" + std::string(90, 'b'));
  sources_ = {{folder_.path("short.txt"), parse_format("text"), 3},
              {folder_.path("long.txt"), parse_format("text"), 1}};
  options_ = {.seed = 1, .sequence_length = 64, .packing = true, .global_batch = 2, .streams = 2};
  auto one = loader();
  double share = 0, all = 0;
  for (int update = 0; update < 300; ++update) {
    const TokenBatch batch = one.next();
    share += static_cast<double>(std::count(batch.tokens.begin(), batch.tokens.end(), 'b'));
    all += static_cast<double>(batch.tokens.size());
  }
  EXPECT_NEAR(share / all, 0.25, 0.03);
}

TEST_F(LoaderTest, deals_small_sources_to_different_streams) {
  sources_ = {{folder_.write("a.txt", "a\n\naa\n\naaa"), parse_format("text"), 1},
              {folder_.write("b.txt", "b"), parse_format("text"), 1}};
  options_.streams = options_.global_batch = 4;
  EXPECT_EQ(loader().next().rows, 4);
}

TEST_F(LoaderTest, tells_how_many_records_are_too_few_and_the_way_out) {
  sources_ = {{folder_.write("a.txt", "a\n\naa\n\naaa"), parse_format("text"), 1}};
  EXPECT_THAT(data_error([&] { loader(); }),
              HasSubstr("holds 3 records for 8 streams; lower data.streams (or train.global_batch) to at most 3"));
}

TEST_F(LoaderTest, leaves_out_a_source_whose_prompts_fill_the_sequence_also_after_restore) {
  options_.packing = false;
  auto one = loaders(1), other = loaders(1);
  next(one);
  other[0].restore(one[0].state());
  EXPECT_EQ(next(one), next(other));
}

TEST_F(LoaderTest, tells_when_every_prompt_fills_the_sequence) {
  sources_ = {{folder_.path("alpaca.json"), parse_format("alpaca"), 1}};
  options_.packing = false;
  auto one = loader();
  EXPECT_THAT(data_error([&] { one.next(); }), HasSubstr("their prompts fill data.sequence_length"));
}

TEST_F(LoaderTest, refuses_numbers_that_do_not_fit) {
  EXPECT_THAT(data_error([&] { loader(0, 3); }), HasSubstr("the 3 data-parallel ranks must divide the 8 streams"));
  options_.streams = 6;
  EXPECT_THAT(data_error([&] { loader(); }), HasSubstr("streams 6 must divide global_batch 16"));
  options_.streams = 8;
  sources_[0].weight = 0;
  EXPECT_THAT(data_error([&] { loader(); }), HasSubstr("the weight 0 must be above 0"));
  sources_ = {{folder_.path("missing.txt"), parse_format("text"), 1}};
  EXPECT_THAT(data_error([&] { loader(); }), HasSubstr("missing.txt: there is no such file"));
}

TEST_F(LoaderTest, names_the_bad_record_that_it_meets) {
  sources_ = {{folder_.path("x-*.jsonl"), parse_format("c4"), 1}};
  for (int i = 0; i < 8; ++i)
    folder_.write(fmt::format("x-{}.jsonl", i), i == 5 ? "{\"text\":\"a\"}\n{\"text\":" : "{\"text\":\"a\"}");
  // Already at the start: it is a small source.
  EXPECT_THAT(data_error([&] { loader(); }), HasSubstr("x-5.jsonl: record 1 (line 2): invalid JSON"));
}

TEST_F(LoaderTest, streams_the_real_samples) {
  SKIP_WITHOUT(test::sample("c4/en"));
  sources_ = {{test::sample("c4/en/c4-train.*.json.gz").string(), parse_format("c4"), 0.8},
              {test::sample("alpaca/alpaca_en_demo.json").string(), parse_format("alpaca"), 0.2}};
  options_.sequence_length = 512;
  for (const int64_t streams : {4, 8}) {
    options_.streams = streams;
    auto one = loaders(1), two = loaders(2);
    for (int update = 0; update < 20; ++update) EXPECT_EQ(next(two), next(one));
  }
}

}  // namespace
}  // namespace lmnet
