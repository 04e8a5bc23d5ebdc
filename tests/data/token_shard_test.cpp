#include "data/token_shard.h"

#include <gmock/gmock.h>

#include <random>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::data_error;
using test::TempFolder;
using testing::HasSubstr;

/// Documents of 1 to 60 tokens, and a few long ones.
std::vector<Document> documents(int count, int32_t vocabulary) {
  std::mt19937 random(3);
  std::vector<Document> all;
  for (int i = 0; i < count; ++i) {
    Document& document = all.emplace_back();
    for (size_t length = i % 97 == 96 ? 70'000 : 1 + random() % 60; length > 0; --length) {
      document.tokens.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary)));
      document.learn.push_back(random() % 3 > 0);
    }
  }
  return all;
}

std::string write(const TempFolder& folder, const std::vector<Document>& all, int64_t vocabulary) {
  const std::string path = folder.path("shard.h5");
  TokenShardWriter writer(path, vocabulary);
  for (const Document& document : all) writer.append(document, 10);
  TokenShard shard;
  shard.fingerprint = "abc";
  shard.input = 4;
  shard.number = 2;
  shard.last = true;
  shard.end.record = 77;
  writer.finish(shard);
  return path;
}

TEST(TokenShard, gives_back_documents_from_anywhere_in_pieces_of_any_size) {
  for (const int32_t vocabulary : {258, 150'000}) {
    const TempFolder folder;
    const auto all = documents(300, vocabulary);
    const TokenShardReader reader(write(folder, all, vocabulary));
    EXPECT_EQ(reader.shard().fingerprint, "abc");
    EXPECT_EQ(reader.shard().input, 4);
    EXPECT_EQ(reader.shard().number, 2);
    EXPECT_TRUE(reader.shard().last);
    EXPECT_EQ(reader.shard().end.record, 77);
    EXPECT_EQ(reader.shard().counts.documents, 300);
    EXPECT_EQ(reader.shard().counts.text_bytes, 3000);
    for (const int64_t most : {1, 50, 1000, 1'000'000}) {
      std::vector<Document> read;
      while (std::ssize(read) < 300) reader.read(std::ssize(read), 41, most, read);
      for (size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(read[i].tokens, all[i].tokens) << i;
        ASSERT_EQ(read[i].learn, all[i].learn) << i;
      }
    }
    reader.verify();
  }
}

TEST(TokenShard, may_be_empty_and_then_has_no_document) {
  const TempFolder folder;
  const TokenShardReader reader(write(folder, {}, 10));
  EXPECT_EQ(reader.shard().counts.documents, 0);
  std::vector<Document> none;
  EXPECT_THAT(data_error([&] { reader.read(0, 1, 1, none); }), HasSubstr("shard.h5: has no document 0"));
}

TEST(TokenShard, has_its_name_only_when_it_is_finished) {
  const TempFolder folder;
  TokenShardWriter writer(folder.path("shard.h5"), 258);
  writer.append(documents(1, 258).front(), 1);
  EXPECT_FALSE(std::filesystem::exists(folder.path("shard.h5")));
  writer.finish({});
  EXPECT_TRUE(std::filesystem::exists(folder.path("shard.h5")));
}

TEST(TokenShard, tells_damage_by_name) {
  const TempFolder folder;
  const auto all = documents(200, 258);
  const std::string path = write(folder, all, 258);
  const std::string good = test::read_file(path);
  const auto read = [&](const std::string& bytes) {
    folder.write("shard.h5", bytes);
    return data_error([&] { TokenShardReader(path).verify(); });
  };
  // A flipped bit in the tokens, which lie in the middle of the file.
  std::string bytes = good;
  const size_t place = bytes.find(std::string(
      reinterpret_cast<const char*>(std::vector<uint16_t>(all[96].tokens.begin(), all[96].tokens.begin() + 8).data()),
      16));
  ASSERT_NE(place, bytes.npos);
  bytes[place] ^= 1;
  EXPECT_THAT(read(bytes), HasSubstr("shard.h5: cannot be read"));
  EXPECT_THAT(read(good.substr(0, good.size() / 2)), HasSubstr("shard.h5: cannot be opened"));
  EXPECT_THAT(read("no HDF5"), HasSubstr("shard.h5: cannot be opened"));
  bytes = good;
  bytes.replace(bytes.find("\"documents\":200"), 15, "\"documents\":201");
  EXPECT_THAT(read(bytes), HasSubstr("shard.h5: its counts contradict"));
}

}  // namespace
}  // namespace lmnet
