#include "data/template.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::data_error;
using testing::HasSubstr;

class TemplateTest : public testing::Test {
 protected:
  std::string make(const std::string& text) const {
    std::string made;
    Template::parse(text).append(RecordFields(record_), made);
    return made;
  }
  std::string fault(const std::string& text) const {
    try {
      make(text);
    } catch (const BadRecord& bad) {
      return bad.what();
    }
    return "none";
  }
  bool holds(const std::string& condition) const {
    return FieldCondition::parse(condition).holds(RecordFields(record_));
  }

  simdjson::dom::parser parser_;
  simdjson::dom::element record_ = parser_.parse(std::string(R"({
    "text": "a\nb", "empty": "", "null": null, "number": -1.5, "yes": true, "no": false, "blank": " \n x y\t",
    "inner": {"text": "deep", "list": [["p", "q"], ["r"]]}, "list": ["one", "two", "three"], "none": [], "mixed": ["a", 7],
    "a name. with dots": "odd", "object": {}, "turns": [{"value": "first"}, {"value": "last"}]})"));
};

TEST_F(TemplateTest, takes_texts_from_anywhere_in_the_record) {
  EXPECT_EQ(make("<{text}|{text}>"), "<a\nb|a\nb>");
  EXPECT_EQ(make("{inner.text}"), "deep");
  EXPECT_EQ(make("{list[0]} {list[2]} {list[-1]} {list[-3]}"), "one three three one");
  EXPECT_EQ(make("{inner.list[0][1]} {turns[-1].value}"), "q last");
  EXPECT_EQ(make("{\"a name. with dots\"} {\"inner\".\"text\"}"), "odd deep");
  EXPECT_EQ(make(""), "");
  EXPECT_EQ(make("no fields"), "no fields");
}

TEST_F(TemplateTest, writes_braces_that_stand_twice) {
  EXPECT_EQ(make("{{text}} {{{text}}}"), "{text} {a\nb}");
  EXPECT_EQ(make("\\boxed{{{inner.text}}}"), "\\boxed{deep}");
}

TEST_F(TemplateTest, takes_other_values_as_it_is_told) {
  EXPECT_EQ(make("{absent?}{null?}{empty?}{text?}"), "a\nb");
  EXPECT_EQ(make("{list|lines}{none|lines}"), "one\ntwo\nthree");
  EXPECT_EQ(make("{number|json} {yes|json} {null|json} {mixed|json} {inner|json} {empty|json}"),
            "-1.5 true null [\"a\",7] {\"text\":\"deep\",\"list\":[[\"p\",\"q\"],[\"r\"]]} ");
  EXPECT_EQ(make("<{blank|trim}>"), "<x y>");
}

TEST_F(TemplateTest, says_what_a_record_lacks) {
  EXPECT_EQ(fault("{absent}"), "the field \"absent\" is missing");
  EXPECT_EQ(fault("{inner.absent}"), "the field \"inner.absent\" is missing");
  EXPECT_EQ(fault("{list[3]}"), "the field \"list[3]\" is missing");
  EXPECT_EQ(fault("{list[-4]}"), "the field \"list[-4]\" is missing");
  EXPECT_EQ(fault("{text[0]}"), "the field \"text[0]\" is missing");
  EXPECT_EQ(fault("{null}"), "the field \"null\" is null, not text");
  EXPECT_EQ(fault("{number}"), "the field \"number\" is a number, not text");
  EXPECT_EQ(fault("{number?}"), "the field \"number\" is a number, not text");
  EXPECT_EQ(fault("{list}"), "the field \"list\" is a list, not text");
  EXPECT_EQ(fault("{text|lines}"), "the field \"text\" is text, not a list");
  EXPECT_EQ(fault("{mixed|lines}"), "the field \"mixed\" holds a number, not only texts");
  EXPECT_EQ(fault("{absent|json}"), "the field \"absent\" is missing");
}

TEST_F(TemplateTest, refuses_what_is_no_template) {
  for (const char* text : {"{text", "text}", "{}", "{a..b}", "{.a}", "{a.}", "{a[}", "{a[x]}", "{a[1}", "{[0]}", "{a]}",
                           "{\"a}", "{a|upper}", "{a|}", "{a[0]b}", "{\"a\"b}"})
    EXPECT_NE(data_error([&] { Template::parse(text); }), "") << text;
  EXPECT_THAT(data_error([] { Template::parse("{a|upper}"); }), HasSubstr("|lines, |json and |trim"));
}

TEST_F(TemplateTest, reads_the_columns_that_data_has_instead) {
  Columns columns;
  columns.emplace("question", FieldPath::parse("inner"));
  columns.emplace("answer", FieldPath::parse("turns[1].value"));
  Template text = Template::parse("{question.text} {answer} {text}");
  text.rename(columns);
  std::string made;
  text.append(RecordFields(record_), made);
  EXPECT_EQ(made, "deep last a\nb");
}

TEST_F(TemplateTest, reads_texts_with_names_as_well) {
  const std::vector<std::string> names = {"mr", "ref"}, cells = {"x", ""};
  std::string made;
  Template::parse("{mr}{ref}{more?}").append(RecordFields(names, cells), made);
  EXPECT_EQ(made, "x");
  EXPECT_FALSE(FieldCondition::parse("ref").holds(RecordFields(names, cells)));
  EXPECT_TRUE(FieldCondition::parse("mr is x").holds(RecordFields(names, cells)));
  EXPECT_THROW(Template::parse("{mr.x}").append(RecordFields(names, cells), made), BadRecord);
}

TEST_F(TemplateTest, conditions_ask_for_something_or_for_a_value) {
  for (const char* name : {"text", "number", "yes", "inner", "list", "mixed", "blank", "inner.text", "list[1]"}) {
    EXPECT_TRUE(holds(name)) << name;
    EXPECT_FALSE(holds(std::string("not ") + name)) << name;
  }
  for (const char* name : {"absent", "null", "empty", "no", "none", "object", "list[9]", "inner.absent"}) {
    EXPECT_FALSE(holds(name)) << name;
    EXPECT_TRUE(holds(std::string("not ") + name)) << name;
  }
  EXPECT_TRUE(holds("inner.text is deep"));
  EXPECT_TRUE(holds("yes is true"));
  EXPECT_TRUE(holds("number is -1.5"));
  EXPECT_TRUE(holds("inner.text is not shallow"));
  EXPECT_TRUE(holds("absent is not deep"));
  EXPECT_FALSE(holds("absent is deep"));
  EXPECT_THAT(data_error([] { FieldCondition::parse("a b..c"); }), HasSubstr("names no field"));
}

}  // namespace
}  // namespace lmnet
