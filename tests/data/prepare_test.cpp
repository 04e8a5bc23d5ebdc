#include "data/prepare.h"

#include <gmock/gmock.h>

#include <map>
#include <numeric>

#include "data/loader.h"
#include "data/token_shard.h"
#include "data/unit.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using test::data_error;
using test::TempFolder;
using testing::HasSubstr;

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() {
    for (int i = 0; i < 5; ++i)
      files_.push_back(raw_.write(fmt::format("c4-{}.jsonl{}", i, i % 2 ? ".gz" : ""),
                                  test::c4_lines(fmt::format("c{}", i), 0, i == 3 ? 0 : 200 + 31 * i)));
  }

  Preparation preparation(const std::string& out = "out") {
    Preparation made(files_, parse_format("c4"), *tokenizer_, work_.path(out));
    made.shard_tokens = 1500;
    made.batch_bytes = 300;
    return made;
  }

  static void prepare(const Preparation& preparation, int threads, std::vector<int64_t> files = {}) {
    if (files.empty()) {
      files.resize(preparation.files.size());
      std::iota(files.begin(), files.end(), 0);
    }
    begin_preparation(preparation);
    prepare_files(preparation, files, threads, [](const PreparationProgress&) {});
  }

  /// All documents of a folder as texts, in order.
  std::vector<std::string> texts(const fs::path& folder) {
    std::vector<std::string> all;
    for (const TokenIndex::Shard& shard : TokenIndex::read(folder).shards) {
      std::vector<Document> documents;
      while (std::ssize(documents) < shard.counts.documents)
        TokenShardReader(folder / shard.file).read(std::ssize(documents), 1000, 1 << 20, documents);
      for (const Document& document : documents) all.push_back(tokenizer_->decode(document.tokens));
    }
    return all;
  }

  std::vector<std::string> expected() const {
    std::vector<std::string> all;
    for (const fs::path& file : files_)
      for (const Record& record : test::all_records(file, parse_format("c4"))) all.push_back(record.answer);
    return all;
  }

  static std::map<std::string, std::string> shards(const fs::path& folder) {
    std::map<std::string, std::string> contents;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".h5") continue;
      std::vector<Document> documents;
      const TokenShardReader reader(entry.path());
      std::string& text = contents[entry.path().filename()];
      while (std::ssize(documents) < reader.shard().counts.documents)
        reader.read(std::ssize(documents), 1000, 1 << 20, documents);
      for (const Document& document : documents)
        text.append(reinterpret_cast<const char*>(document.tokens.data()), document.tokens.size() * 4);
    }
    return contents;
  }

  TempFolder raw_, work_;
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
  std::vector<fs::path> files_;
};

TEST_F(PrepareTest, writes_every_record_once_in_order_on_any_number_of_threads) {
  const Preparation one = preparation("one"), many = preparation("many");
  prepare(one, 1);
  prepare(many, 4);
  const TokenIndex index = finish_preparation(one);
  EXPECT_TRUE(index.complete);
  EXPECT_GT(index.shards.size(), 4u);
  EXPECT_EQ(texts(one.out), expected());
  EXPECT_EQ(index.total().documents, std::ssize(expected()));
  finish_preparation(many);
  EXPECT_EQ(shards(many.out), shards(one.out));
}

TEST_F(PrepareTest, keeps_finished_shards_and_makes_the_others_again) {
  const Preparation whole = preparation("whole"), again = preparation("again");
  prepare(whole, 1);
  finish_preparation(whole);
  prepare(again, 2);
  // As a kill leaves it: of one file the last shards are missing, one of another file is half written.
  const auto shard = [&](const char* name) { return again.out / name; };
  fs::remove(shard("shard-00000-0001.h5"));
  fs::rename(shard("shard-00004-0002.h5"), shard(".shard-00004-0002.h5.tmp"));
  fs::resize_file(shard(".shard-00004-0002.h5.tmp"), 3000);
  const auto kept = fs::last_write_time(shard("shard-00002-0001.h5"));
  EXPECT_THAT(data_error([&] { find_prepared_shards(again.out, *tokenizer_, 1); }),
              HasSubstr("is not prepared to its end; call lmnet prepare again"));
  prepare(again, 2);
  finish_preparation(again);
  EXPECT_EQ(shards(again.out), shards(whole.out));
  EXPECT_EQ(fs::last_write_time(shard("shard-00002-0001.h5")), kept);
  EXPECT_EQ(texts(again.out), expected());
}

TEST_F(PrepareTest, may_be_shared_out_by_files) {
  const Preparation made = preparation();
  prepare(made, 1, {0, 2, 4});
  prepare(made, 1, {1, 3});
  finish_preparation(made);
  EXPECT_EQ(texts(made.out), expected());
}

TEST_F(PrepareTest, tells_how_far_it_is) {
  const Preparation made = preparation();
  begin_preparation(made);
  const std::vector<int64_t> files = {0, 1, 2, 3, 4};
  PreparationProgress last;
  prepare_files(made, files, 2, [&](const PreparationProgress& progress) { last = progress; });
  EXPECT_EQ(last.files, 5);
  EXPECT_DOUBLE_EQ(last.share, 1);
  EXPECT_GT(last.tokens, last.text_bytes);
}

TEST_F(PrepareTest, refuses_a_folder_of_other_data) {
  prepare(preparation(), 1);
  raw_.write("c4-2.jsonl", test::c4_lines("changed", 0, 30));
  EXPECT_THAT(data_error([&] { begin_preparation(preparation()); }), HasSubstr("holds data prepared from other files"));
  work_.write("file", "");
  EXPECT_THAT(data_error([&] { begin_preparation(preparation("")); }), HasSubstr("is not empty"));
}

TEST_F(PrepareTest, tells_a_bad_record_and_keeps_what_is_finished) {
  files_.push_back(raw_.write("bad.jsonl", test::c4_lines("b", 0, 20) + "{\n"));
  EXPECT_THAT(data_error([&] { prepare(preparation(), 2); }), HasSubstr("bad.jsonl: record 20 (line 21)"));
  raw_.write("bad.jsonl", test::c4_lines("b", 0, 20));
}

class PreparedLoaderTest : public PrepareTest {
 protected:
  PreparedLoaderTest() {
    prepare(preparation(), 2);
    finish_preparation(preparation());
  }

  Loader loader(int rank = 0, int ranks = 1) const {
    return {{{work_.path("out"), parse_format("prepared")}}, *tokenizer_, options_, rank, ranks};
  }

  LoaderOptions options_{.seed = 3, .sequence_length = 60, .packing = false, .global_batch = 8, .streams = 4};
};

TEST_F(PreparedLoaderTest, gives_every_document_once_an_epoch) {
  std::map<std::string, int> times;
  auto one = loader();
  const auto all = std::ssize(expected());
  for (int64_t i = 0; i < all; ++i) {
    const TokenBatch batch = one.next();
    for (int64_t row = 0; row < batch.rows; ++row)
      ++times[tokenizer_->decode(std::span(batch.tokens).subspan(row * batch.length, batch.length))];
  }
  EXPECT_EQ(std::ssize(times), all);
  for (const auto& [text, count] : times) EXPECT_NEAR(count, 8, 2) << text;  // each stream wraps around its own
}

TEST_F(PreparedLoaderTest, has_one_order_for_any_number_of_ranks_readers_and_restarts) {
  options_.packing = true;
  auto one = loader();
  options_.readers = 3;
  std::vector<Loader> two;
  for (int rank = 0; rank < 2; ++rank) two.push_back(loader(rank, 2));
  for (int update = 0; update < 100; ++update) {
    ASSERT_EQ(batch_hash(one.next()), batch_hash(two[0].next()) + batch_hash(two[1].next())) << update;
    if (update % 23 != 22) continue;
    const auto states = one.state();
    for (int rank = 0; rank < 2; ++rank) {
      two[rank] = loader(rank, 2);
      two[rank].restore(states);
    }
  }
}

TEST_F(PreparedLoaderTest, is_validation_data_too) {
  const auto raw = validation_batches({{raw_.path("c4-*"), parse_format("c4")}}, *tokenizer_, {60}, 4);
  const auto prepared = validation_batches({{work_.path("out"), parse_format("prepared")}}, *tokenizer_, {60}, 4);
  ASSERT_EQ(prepared.size(), raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    EXPECT_EQ(prepared[i].tokens, raw[i].tokens);
    EXPECT_EQ(prepared[i].learn, raw[i].learn);
  }
}

TEST_F(PreparedLoaderTest, refuses_shards_of_other_data) {
  TokenIndex index = TokenIndex::read(work_.path("out"));
  index.fingerprint = "0123456789abcdef";
  index.write(work_.path("out"));
  EXPECT_THAT(data_error([&] { loader().next(); }), HasSubstr("belongs to other data than its index.json"));
}

TEST_F(PreparedLoaderTest, refuses_another_tokenizer_missing_shards_and_other_sizes) {
  TokenIndex index = TokenIndex::read(work_.path("out"));
  index.tokenizer = "/models/other";
  index.tokenizer_hash = "other";
  index.write(work_.path("out"));
  EXPECT_THAT(data_error([&] { loader(); }),
              HasSubstr("was prepared with another tokenizer, /models/other, than the run's, bytes"));
  index.tokenizer_hash = tokenizer_->hash();
  index.write(work_.path("out"));
  const fs::path shard = fs::path(work_.path("out")) / index.shards[1].file;
  fs::resize_file(shard, fs::file_size(shard) - 1);
  EXPECT_THAT(data_error([&] { loader(); }), HasSubstr("has another size than index.json says"));
  fs::remove(shard);
  EXPECT_THAT(data_error([&] { loader(); }), HasSubstr("cannot be opened"));
}

}  // namespace
}  // namespace lmnet
