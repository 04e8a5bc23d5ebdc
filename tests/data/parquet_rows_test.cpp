#include <arrow/api.h>
#include <arrow/io/file.h>
#include <gmock/gmock.h>
#include <parquet/arrow/writer.h>

#include "data/record_reader.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::all_records;
using test::data_error;
using test::TempFolder;
using testing::HasSubstr;

/// Appends with a builder and gives the array.
template <typename Builder, typename Values>
std::shared_ptr<arrow::Array> array_of(const Values& values) {
  Builder builder;
  for (const auto& value : values) EXPECT_TRUE(builder.Append(value).ok());
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> texts(const std::vector<std::string>& values) {
  return array_of<arrow::StringBuilder>(values);
}

/// A list of so many of the items for each row.
std::shared_ptr<arrow::Array> lists(const std::shared_ptr<arrow::Array>& items, const std::vector<int32_t>& offsets) {
  return arrow::ListArray::FromArrays(*array_of<arrow::Int32Builder>(offsets), *items).ValueOrDie();
}

void write(const std::string& file, const std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>& columns,
           int64_t rows_of_a_group, parquet::Compression::type compression = parquet::Compression::SNAPPY) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (const auto& [name, array] : columns) {
    fields.push_back(arrow::field(name, array->type()));
    arrays.push_back(array);
  }
  const auto table = arrow::Table::Make(arrow::schema(fields), arrays);
  const auto out = arrow::io::FileOutputStream::Open(file).ValueOrDie();
  const auto properties = parquet::WriterProperties::Builder().compression(compression)->build();
  ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, rows_of_a_group, properties).ok());
  ASSERT_TRUE(out->Close().ok());
}

/// Three rows as open-r1/OpenR1-Math-220k has them.
std::string openr1(const TempFolder& folder) {
  const auto roles = texts({"user", "assistant", "user", "assistant", "user", "assistant"});
  const auto contents = texts({"1+1?", "2 \"quoted\"", "2+2?", "4\n\\boxed{4}", "3+3?", "6 \u00e9\x01"});
  const auto message =
      arrow::StructArray::Make({contents, roles}, std::vector<std::string>{"content", "role"}).ValueOrDie();
  write(folder.path("openr1.parquet"),
        {{"problem", texts({"1+1?", "2+2?", "3+3?"})},
         {"generations", lists(texts({"<think>a", "b", "<think>c", "<think>d"}), {0, 2, 3, 4})},
         {"is_reasoning_complete",
          lists(array_of<arrow::BooleanBuilder>(std::vector{true, false, true, true}), {0, 2, 3, 4})},
         {"correctness_count", array_of<arrow::Int64Builder>(std::vector{1, 2, 3})},
         {"messages", lists(message, {0, 2, 4, 6})}},
        2);
  return folder.path("openr1.parquet");
}

/// Rows `text 0`, `text 1`, … in row groups.
std::string numbered(const TempFolder& folder, int rows, int64_t rows_of_a_group) {
  std::vector<std::string> values;
  for (int i = 0; i < rows; ++i) values.push_back(fmt::format("text {}", i));
  write(folder.path("numbered.parquet"), {{"url", texts(values)}, {"text", texts(values)}}, rows_of_a_group);
  return folder.path("numbered.parquet");
}

TEST(Parquet, holds_lamini) {
  TempFolder folder;
  for (const auto compression : {parquet::Compression::UNCOMPRESSED, parquet::Compression::SNAPPY,
                                 parquet::Compression::GZIP, parquet::Compression::ZSTD}) {
    write(folder.path("a.parquet"),
          {{"instruction", texts({"Name a fruit.", "Add."})},
           {"response", texts({"Fig.", ""})},
           {"instruction_source", texts({"alpaca", "flan"})}},
          100, compression);
    const auto records = all_records(folder.path("a.parquet"), parse_format("lamini"));
    ASSERT_EQ(records.size(), 2u);
    EXPECT_EQ(records[0].prompt, test::alpaca_prompt("Name a fruit.", ""));
    EXPECT_EQ(records[0].answer, "Fig.");
    EXPECT_EQ(records[1].answer, "");
  }
}

TEST(Parquet, holds_lists_and_objects) {
  TempFolder folder;
  const auto file = openr1(folder);
  const auto records = all_records(file, parse_format("openr1-math"));
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[1].prompt, "2+2?\n");
  EXPECT_EQ(records[1].answer, "<think>c");
  const auto chats = all_records(file, parse_format("messages"));
  ASSERT_EQ(chats.size(), 3u);
  EXPECT_EQ(chats[0].messages[1].role, "assistant");
  EXPECT_EQ(chats[0].messages[1].content, "2 \"quoted\"");
  EXPECT_EQ(chats[1].messages[1].content, "4\n\\boxed{4}");
  EXPECT_EQ(chats[2].messages[1].content, "6 \u00e9\x01");
  const Format other = parse_format_yaml(
      "{answer: \"{correctness_count|json} {is_reasoning_complete|json} {generations|lines}\"}", "other");
  EXPECT_EQ(all_records(file, other)[0].answer, "1 [true,false] <think>a\nb");
}

TEST(Parquet, holds_other_kinds_of_values) {
  TempFolder folder;
  arrow::StringBuilder some;
  EXPECT_TRUE(some.Append("x").ok() && some.AppendNull().ok());
  const auto words =
      arrow::DictionaryArray::FromArrays(arrow::dictionary(arrow::int8(), arrow::utf8()),
                                         array_of<arrow::Int8Builder>(std::vector<int8_t>{1, 0}), texts({"no", "yes"}));
  const auto days = array_of<arrow::Date32Builder>(std::vector{0, 365});
  write(folder.path("a.parquet"),
        {{"some", some.Finish().ValueOrDie()},
         {"word", words.ValueOrDie()},
         {"day", days},
         {"real", array_of<arrow::DoubleBuilder>(std::vector{0.5, std::nan("")})},
         {"large", array_of<arrow::LargeStringBuilder>(std::vector<std::string>{"l", "m"})}},
        10);
  const auto records = all_records(
      folder.path("a.parquet"), parse_format_yaml("{answer: \"{some?} {word} {day} {real|json} {large}\"}", "kinds"));
  EXPECT_EQ(records[0].answer, "x yes 1970-01-01 0.5 l");
  EXPECT_EQ(records[1].answer, " no 1971-01-01 null m");
}

TEST(Parquet, goes_on_at_any_row) {
  TempFolder folder;
  const auto file = numbered(folder, 1000, 300);
  RecordReader whole(file, parse_format("c4"));
  for (int i = 0; i < 1000; ++i, whole.skip()) {
    if (i % 50 != 0 && i % 300 > 1 && i != 999) continue;
    RecordReader reader(file, parse_format("c4"), whole.cursor());
    Record record;
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(record.answer, fmt::format("text {}", i));
    EXPECT_EQ(reader.cursor().record, i + 1);
  }
  EXPECT_FALSE(whole.skip());
  Record record;
  EXPECT_FALSE(RecordReader(file, parse_format("c4"), whole.cursor()).next(record));
}

TEST(Parquet, with_large_rows_is_read_in_bounded_memory) {
  TempFolder folder;
  constexpr int rows = 150;
  const auto column = [] {
    std::vector<std::string> values;
    for (int i = 0; i < rows; ++i) values.push_back(fmt::format("{}.", i) + std::string(1 << 20, 'x'));
    return texts(values);
  };
  {
    const auto schema = arrow::schema({arrow::field("text", arrow::utf8())});
    const auto out = arrow::io::FileOutputStream::Open(folder.path("a.parquet")).ValueOrDie();
    const auto pages = parquet::WriterProperties::Builder().disable_dictionary()->write_batch_size(1)->build();
    ASSERT_TRUE(parquet::arrow::WriteTable(*arrow::Table::Make(schema, {column()}), arrow::default_memory_pool(), out,
                                           rows, pages)
                    .ok());
    ASSERT_TRUE(out->Close().ok());
  }
  const int64_t before = arrow::default_memory_pool()->bytes_allocated();
  RecordReader reader(folder.path("a.parquet"), parse_format("c4"));
  Record record;
  for (int i = 0; i < rows; ++i) {
    ASSERT_TRUE(reader.next(record));
    EXPECT_TRUE(record.answer.starts_with(fmt::format("{}.x", i)));
    EXPECT_LT(arrow::default_memory_pool()->bytes_allocated() - before, 32 << 20);
  }
  EXPECT_FALSE(reader.next(record));
}

TEST(Parquet, that_cannot_be_read_is_not_called_broken) {
  TempFolder folder;
  EXPECT_THAT(data_error([&] { all_records(folder.path("gone.parquet"), parse_format("c4")); }),
              testing::EndsWith("gone.parquet: record 0: cannot be read: No such file or directory"));
}

TEST(Parquet, names_what_a_row_lacks) {
  TempFolder folder;
  const auto file = numbered(folder, 5, 3);
  EXPECT_THAT(data_error([&] { all_records(file, parse_format("lamini")); }),
              HasSubstr(file + ": record 0: the field \"instruction\" is missing"));
  write(folder.path("a.parquet"), {{"text", texts({"good", "bad \xff", "good"})}}, 3);
  EXPECT_THAT(data_error([&] { all_records(folder.path("a.parquet"), parse_format("c4")); }),
              HasSubstr("a.parquet: record 1: invalid JSON"));
}

TEST(Parquet, that_is_damaged_or_cut_off_is_told_without_harm) {
  TempFolder folder;
  const std::string whole = test::read_file(numbered(folder, 200, 50));
  const auto file = folder.path("damaged.parquet");
  const auto read = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    try {
      return all_records(file, parse_format("c4")).size();
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith(file + ": record "));
      return size_t{0};
    }
  };
  EXPECT_EQ(read(whole), 200u);
  for (size_t size = 0; size < whole.size(); size += 1 + whole.size() / 200) EXPECT_EQ(read(whole.substr(0, size)), 0u);
  const size_t footer = whole.size() > 2000 ? whole.size() - 2000 : 0;
  for (size_t at = 0; at < whole.size(); at += at < footer ? 97 : 1) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(~bytes[at]);
    EXPECT_LE(read(bytes), 200u);
  }
}

}  // namespace
}  // namespace lmnet
