#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/graph/errors.h"
#include "trainer/config/config.h"
#include "trainer/config/tree.h"
#include "trainer/config/units.h"

namespace lmnet::config {

enum class Need { optional, to_train, always };

/// One key of the schema, as errors, `lmnet help config` and comparisons see it.
struct KeyInfo {
  std::string path;      // `train.stages[].lr`
  std::string allowed;   // `a whole number above 0`
  std::string standard;  // the default as YAML; empty where there is none
  std::string meaning;
  Need need = Need::optional;
};

/// How values of one type stand in YAML.
template <class T>
struct Codec {
  std::string allowed;
  std::function<T(const Node&, const std::string& path)> read;  // throws ConfigError
  std::function<Node(const T&)> write;                          // a null node: no value, the key is left out
  std::vector<KeyInfo> below = {};                              // keys in it, paths relative to it: `.path`, `[].path`
  bool is_section = false;                                      // it has no value of its own beside those keys
};

Codec<std::string> text();
/// One of the words that are built; those that are planned are known and refused as such.
Codec<std::string> choice(std::vector<std::string> built, std::vector<std::string> planned = {});
/// The same where each word stands for a value.
template <class T>
Codec<T> one_of(std::vector<std::pair<std::string, T>> values);
Codec<bool> boolean();
Codec<int64_t> whole(int64_t least, int64_t most = std::numeric_limits<int64_t>::max());
/// One that fits an int.
Codec<int> small_whole(int64_t least);

/// What a floating-point number may be; `allowed` says it in words.
struct Range {
  std::string allowed;
  std::function<bool(double)> holds;
};
Range above_zero();
Range zero_or_above();
Range share();  // from 0 to below 1
Codec<double> real(Range range);

/// A Span in one of these units; above 0 unless `zero` is allowed.
Codec<Span> length(std::vector<Span::Unit> units, bool zero = false);

/// A value of a Config that is text or a mapping kept as JSON text.
struct TextOrMapping {
  std::string text, json;
};
Codec<TextOrMapping> text_or_mapping(const std::string& allowed);

/// A list that can only be empty so far.
Codec<std::vector<std::string>> empty_list();

/// The same values in another type.
template <class To, class From>
Codec<To> convert(Codec<From> codec, std::function<To(const From&)> to, std::function<From(const To&)> from) {
  return {codec.allowed, [=](const Node& node, const std::string& path) { return to(codec.read(node, path)); },
          [=](const To& value) { return codec.write(from(value)); }};
}

template <class T>
Codec<T> one_of(std::vector<std::pair<std::string, T>> values) {
  std::vector<std::string> words;
  for (const auto& [word, value] : values) words.push_back(word);
  const auto find = [values](const auto& what, auto member) { return *std::ranges::find(values, what, member); };
  using Pair = std::pair<std::string, T>;
  return convert<T, std::string>(
      choice(std::move(words)), [find](const std::string& word) { return find(word, &Pair::first).second; },
      [find](const T& value) { return find(value, &Pair::second).first; });
}

template <class To, class From>
Codec<To> cast(const Codec<From>& codec) {
  return convert<To, From>(
      codec, [](const From& value) { return To(value); }, [](const To& value) { return From(value); });
}

/// A value, or the word that stands for none: `streams: auto`.
template <class T>
Codec<std::optional<T>> or_word(const std::string& word, Codec<T> codec) {
  const std::string allowed = word + " or " + codec.allowed;
  return {allowed,
          [=](const Node& node, const std::string& path) -> std::optional<T> {
            if (node.kind != Node::Kind::scalar) refuse(node, path, allowed);
            if (node.text == word) return std::nullopt;
            try {
              return codec.read(node, path);
            } catch (const ConfigError& error) {
              throw ConfigError(fmt::format("{} (or {})", error.what(), word));
            }
          },
          [=](const std::optional<T>& value) { return value ? codec.write(*value) : Node::plain(word); }};
}

/// A value whose default T{} means that it is not given.
template <class T>
Codec<T> given(Codec<T> codec) {
  const auto write = codec.write;
  codec.write = [write](const T& value) { return value == T{} ? Node{} : write(value); };
  return codec;
}

/// Only the value that is built so far; the others are `planned`, in words.
template <class T>
Codec<T> only(const T& value, const Codec<T>& codec, const std::string& planned) {
  const std::string standard = to_flow_text(codec.write(value));
  Codec<T> result = codec;
  result.allowed = standard + " (planned: " + planned + ")";
  result.read = [=](const Node& node, const std::string& path) {
    if (codec.read(node, path) != value) refuse_planned(node, path, "remove it or set it to " + standard);
    return value;
  };
  return result;
}

template <class T>
Codec<std::vector<T>> list_of(const Codec<T>& codec, const std::string& allowed) {
  std::vector<KeyInfo> below;
  for (KeyInfo key : codec.below) {
    key.path = "[]" + key.path;
    below.push_back(std::move(key));
  }
  return {allowed,
          [=](const Node& node, const std::string& path) {
            if (node.kind != Node::Kind::list) refuse(node, path, allowed);
            std::vector<T> values;
            for (const Node& item : node.items) values.push_back(codec.read(item, join(path, values.size())));
            return values;
          },
          [=](const std::vector<T>& values) {
            Node node;
            node.kind = Node::Kind::list;
            for (const T& value : values) node.items.push_back(codec.write(value));
            return node;
          },
          below};
}

/// Words of `codec`, none twice.
Codec<std::vector<std::string>> set_of(const Codec<std::string>& codec, const std::string& allowed, bool may_be_empty);

/// A YAML mapping that is a struct T: its keys bound to members. Everything about a key is said here once; reading,
/// writing, strictness, help and comparison follow from it.
template <class T>
class Mapping {
 public:
  template <class M>
  Mapping& key(const std::string& name, M T::*member, const Codec<M>& codec, const std::string& meaning,
               Need need = Need::optional) {
    return bound<M>(
        name, [=](const T& object) { return object.*member; },
        [=](T& object, M value) { object.*member = std::move(value); }, codec, meaning, need);
  }

  /// A key that is no single member.
  template <class M>
  Mapping& bound(const std::string& name, std::function<M(const T&)> get, std::function<void(T&, M)> set,
                 const Codec<M>& codec, const std::string& meaning, Need need = Need::optional) {
    return add(
        {name, need, [=](T& object, const Node& node, const std::string& path) { set(object, codec.read(node, path)); },
         [=](const T& object) { return codec.write(get(object)); }},
        codec, meaning);
  }

  /// A key that has one value only so far.
  template <class M>
  Mapping& constant(const std::string& name, const M& value, const Codec<M>& codec, const std::string& meaning) {
    return bound<M>(
        name, [=](const T&) { return value; }, [](T&, const M&) {}, codec, meaning);
  }

  /// Keys of the same struct under a name.
  Mapping& group(const std::string& name, const Mapping& keys) {
    return add({name, Need::optional,
                [=](T& object, const Node& node, const std::string& path) { keys.read(object, node, path); },
                [=](const T& object) { return keys.write(object); }},
               keys.codec(), "");
  }

  /// A section of keys that is a struct of its own. Values that the object has already are what the keys default to.
  template <class M>
  Mapping& section(const std::string& name, M T::*member, const Mapping<M>& keys) {
    return add({name, Need::optional,
                [=](T& object, const Node& node, const std::string& path) { keys.read(object.*member, node, path); },
                [=](const T& object) { return keys.write(object.*member); }},
               keys.codec(), "");
  }

  /// Runs after the keys were read: what concerns several of them, and places to remember.
  Mapping& check(std::function<void(T&, const Node&, const std::string& path)> check) {
    check_ = std::move(check);
    return *this;
  }

  Codec<T> codec() const {
    std::vector<KeyInfo> below = keys();
    for (KeyInfo& info : below) info.path = "." + info.path;
    return {"a mapping",
            [self = *this](const Node& node, const std::string& path) {
              T object{};
              self.read(object, node, path);
              return object;
            },
            [self = *this](const T& object) { return self.write(object); }, below, true};
  }

  const std::vector<KeyInfo>& keys() const { return keys_; }

  void read(T& object, const Node& node, const std::string& path) const {
    if (node.kind != Node::Kind::null && node.kind != Node::Kind::map) {
      refuse(node, path.empty() ? "the config" : path, "a mapping with the keys " + names());
    }
    for (const Field& field : fields_) {
      if (const Node* entry = node.find(field.name)) {
        field.read(object, *entry, join(path, field.name));
      } else if (field.need == Need::always) {
        fail(node.where, fmt::format("{} is missing, expected {}", join(path, field.name), allowed(field.name)));
      }
    }
    if (check_) check_(object, node, path);
  }

  Node write(const T& object) const {
    Node node;
    node.kind = Node::Kind::map;
    for (const Field& field : fields_) {
      Node entry = field.write(object);
      if (entry.kind == Node::Kind::null) continue;
      entry.key = field.name;
      node.items.push_back(std::move(entry));
    }
    return node;
  }

 private:
  struct Field {
    std::string name;
    Need need;
    std::function<void(T&, const Node&, const std::string& path)> read;
    std::function<Node(const T&)> write;
  };

  template <class M>
  Mapping& add(Field field, const Codec<M>& codec, const std::string& meaning) {
    const Node standard = field.write(T{});
    const std::string standard_text = standard.kind == Node::Kind::null ? "" : to_flow_text(standard);
    if (!codec.is_section) keys_.push_back({field.name, codec.allowed, standard_text, meaning, field.need});
    for (KeyInfo info : codec.below) {
      info.path = field.name + info.path;
      keys_.push_back(std::move(info));
    }
    fields_.push_back(std::move(field));
    return *this;
  }

  std::string names() const {
    std::string result;
    for (const Field& field : fields_) result += (result.empty() ? "" : ", ") + field.name;
    return result;
  }

  std::string allowed(const std::string& name) const {
    for (const KeyInfo& info : keys_) {
      if (info.path == name) return info.allowed;
    }
    return "a mapping";
  }

  std::vector<Field> fields_;
  std::vector<KeyInfo> keys_;
  std::function<void(T&, const Node&, const std::string&)> check_;
};

}  // namespace lmnet::config
