#include "tests/parallel/communicator_contract.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <numeric>
#include <stdexcept>

#include "parallel/errors.h"
#include "parallel/pieces.h"

namespace lmnet::testing {
namespace {

constexpr at::ScalarType all_types[] = {at::kDouble, at::kFloat, at::kBFloat16, at::kLong};
/// Sizes around the bounds between one round of messages and two.
constexpr int64_t all_sizes[] = {1, 3, 1000, 16384, 70001};

void require(bool condition, const std::string& what) {
  if (!condition) {
    throw std::runtime_error(what);
  }
}

/// The tensor that `rank` brings: the same in every process.
at::Tensor tensor_of(int rank, int64_t count, at::ScalarType type, int64_t seed = 0) {
  const at::Tensor i = at::arange(count, at::kDouble) + 977. * rank + 31. * static_cast<double>(seed);
  const at::Tensor mixed = at::sin(i * 12.9898) * at::exp(4 * at::sin(i * 0.37)) * 100;
  return mixed.to(type);
}

std::vector<at::Tensor> tensors_of_all(const Communicator& group, int64_t count, at::ScalarType type) {
  std::vector<at::Tensor> all;
  for (int r = 0; r < group.size(); ++r) {
    all.push_back(tensor_of(r, count, type));
  }
  return all;
}

/// How many elements `from` sends to `to`: uneven, some none.
int64_t count_between(int from, int to, int64_t scale) {
  return (from * 5 + to * 3) % 4 * scale;
}

void exchange_and_compare(Communicator& group, int64_t scale, at::ScalarType type, int64_t seed) {
  std::vector<int64_t> send_counts;
  std::vector<int64_t> receive_counts;
  std::vector<at::Tensor> outgoing{at::empty({0}, type)};
  std::vector<at::Tensor> expected{at::empty({0}, type)};
  const auto message = [&](int from, int to) {
    return tensor_of(from * 100 + to, count_between(from, to, scale), type, seed);
  };
  for (int r = 0; r < group.size(); ++r) {
    outgoing.push_back(message(group.rank(), r));
    expected.push_back(message(r, group.rank()));
    send_counts.push_back(outgoing.back().numel());
    receive_counts.push_back(expected.back().numel());
  }
  const at::Tensor wanted = at::cat(expected);
  at::Tensor receive = at::zeros_like(wanted);
  group.all_to_all(at::cat(outgoing), send_counts, receive, receive_counts);
  require(at::equal(receive, wanted), fmt::format("all_to_all of {} with scale {}", at::toString(type), scale));
}

void all_to_all_delivers_uneven_and_empty_parts(Communicator& group) {
  for (const at::ScalarType type : all_types) {
    for (const int64_t scale : {0, 1, 7, 50000}) {
      exchange_and_compare(group, scale, type, 0);
    }
  }
}

void many_calls_in_a_row_keep_their_order(Communicator& group) {
  for (int call = 0; call < 200; ++call) {
    exchange_and_compare(group, call % 5, at::kFloat, call);
    at::Tensor value = at::full({1}, call + group.rank(), at::kLong);
    group.all_reduce(value, Reduction::max);
    require(value.item<int64_t>() == call + group.size() - 1, "all_reduce among many calls");
  }
}

void sums_are_those_of_rank_order_to_the_bit(Communicator& group) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kLong}) {
    for (const int64_t count : all_sizes) {
      at::Tensor wanted = at::zeros({count}, type);
      for (const at::Tensor& term : tensors_of_all(group, count, type)) {
        wanted = wanted + term;
      }
      at::Tensor sum = tensor_of(group.rank(), count, type);
      group.all_reduce(sum);
      require(at::equal(sum, wanted), fmt::format("sum of {} {}", count, at::toString(type)));
    }
  }
}

void sums_of_bf16_are_rounded_once(Communicator& group) {
  for (const int64_t count : all_sizes) {
    at::Tensor wanted = at::zeros({count}, at::kFloat);
    for (const at::Tensor& term : tensors_of_all(group, count, at::kBFloat16)) {
      wanted = wanted + term.to(at::kFloat);
    }
    at::Tensor sum = tensor_of(group.rank(), count, at::kBFloat16);
    group.all_reduce(sum);
    require(at::equal(sum, wanted.to(at::kBFloat16)), fmt::format("sum of {} bf16", count));
  }
  // 256 + 1 in bf16 is 256 again: rounding at each step would lose every 1.
  at::Tensor value = at::full({1}, group.rank() == 0 ? 256 : 1, at::kBFloat16);
  group.all_reduce(value);
  require(at::equal(value, at::full({1}, 256 + group.size() - 1, at::kFloat).to(at::kBFloat16)), "256 + 1 + 1 + …");
}

void max_and_min_take_the_extreme_of_all_ranks(Communicator& group) {
  for (const at::ScalarType type : all_types) {
    for (const int64_t count : all_sizes) {
      const at::Tensor all = at::stack(tensors_of_all(group, count, type));
      at::Tensor largest = tensor_of(group.rank(), count, type);
      at::Tensor smallest = largest.clone();
      group.all_reduce(largest, Reduction::max);
      group.all_reduce(smallest, Reduction::min);
      require(at::equal(largest, at::amax(all, 0)), fmt::format("max of {} {}", count, at::toString(type)));
      require(at::equal(smallest, at::amin(all, 0)), fmt::format("min of {} {}", count, at::toString(type)));
    }
  }
}

void not_a_number_on_one_rank_reaches_all(Communicator& group) {
  at::Tensor value = at::full({2}, group.rank() + 1 == group.size() ? NAN : 1.0, at::kDouble);
  at::Tensor largest = value.clone();
  group.all_reduce(value);
  group.all_reduce(largest, Reduction::max);
  require(at::isnan(value).all().item<bool>() && at::isnan(largest).all().item<bool>(), "NaN was lost");
}

void reductions_keep_the_shape(Communicator& group) {
  at::Tensor scalar = at::full({}, group.rank(), at::kLong);
  group.all_reduce(scalar);
  require(scalar.dim() == 0 && scalar.item<int64_t>() == group.size() * (group.size() - 1) / 2, "sum of a scalar");
  at::Tensor matrix = at::ones({3, 5}, at::kFloat);
  group.all_reduce(matrix);
  require(at::equal(matrix, at::full({3, 5}, group.size(), at::kFloat)), "sum of a matrix");
  at::Tensor empty = at::empty({0}, at::kFloat);
  group.all_reduce(empty);
}

void broadcast_copies_from_every_root(Communicator& group) {
  for (int root = 0; root < group.size(); ++root) {
    for (const at::ScalarType type : all_types) {
      for (const int64_t count : {0, 1, 100000}) {
        at::Tensor tensor = tensor_of(group.rank(), count, type);
        group.broadcast(tensor, root);
        require(at::equal(tensor, tensor_of(root, count, type)), fmt::format("broadcast from rank {}", root));
      }
    }
  }
}

void groups_split_by_color_work_on_their_own(Communicator& group) {
  const int color = group.rank() % 2;
  const std::unique_ptr<Communicator> part = group.split(color);
  require(part->size() == (group.size() + 1 - color) / 2 && part->rank() == group.rank() / 2, "place after a split");
  // Unlike numbers of calls in the parts: they must not meet those of the whole.
  for (int call = 0; call <= 10 * color; ++call) {
    exchange_and_compare(*part, 3, at::kFloat, call);
  }
  at::Tensor sum = at::full({1}, group.rank(), at::kLong);
  part->all_reduce(sum);
  int64_t wanted = 0;
  for (int r = color; r < group.size(); r += 2) {
    wanted += r;
  }
  require(sum.item<int64_t>() == wanted, "sum after a split");
  const std::unique_ptr<Communicator> single = part->split(part->rank());
  require(single->size() == 1 && single->rank() == 0, "split of a split");
  exchange_and_compare(group, 3, at::kFloat, 0);
  group.barrier();
}

template <class Call>
void require_communication_error(Call call, const std::string& what) {
  try {
    call();
  } catch (const CommunicationError&) {
    return;
  }
  throw std::runtime_error(what + " raised no CommunicationError");
}

void wrong_arguments_are_refused(Communicator& group) {
  at::Tensor strided = at::zeros({4, 4}, at::kFloat).t();
  require_communication_error([&] { group.all_reduce(strided); }, "a strided tensor");
  at::Tensor half = at::zeros({4}, at::kHalf);
  require_communication_error([&] { group.all_reduce(half); }, "fp16");
  at::Tensor tensor = at::zeros({4}, at::kFloat);
  require_communication_error([&] { group.broadcast(tensor, group.size()); }, "a root that is not there");
  const std::vector<int64_t> counts(group.size(), 3);
  require_communication_error([&] { group.all_to_all(tensor, counts, tensor, counts); }, "counts that do not add up");
}

constexpr ContractCase cases[] = {
    {"all_to_all_delivers_uneven_and_empty_parts", all_to_all_delivers_uneven_and_empty_parts},
    {"many_calls_in_a_row_keep_their_order", many_calls_in_a_row_keep_their_order},
    {"sums_are_those_of_rank_order_to_the_bit", sums_are_those_of_rank_order_to_the_bit},
    {"sums_of_bf16_are_rounded_once", sums_of_bf16_are_rounded_once},
    {"max_and_min_take_the_extreme_of_all_ranks", max_and_min_take_the_extreme_of_all_ranks},
    {"not_a_number_on_one_rank_reaches_all", not_a_number_on_one_rank_reaches_all},
    {"reductions_keep_the_shape", reductions_keep_the_shape},
    {"broadcast_copies_from_every_root", broadcast_copies_from_every_root},
    {"groups_split_by_color_work_on_their_own", groups_split_by_color_work_on_their_own},
    {"wrong_arguments_are_refused", wrong_arguments_are_refused},
};

}  // namespace

std::span<const ContractCase> communicator_contract() {
  return cases;
}

}  // namespace lmnet::testing
