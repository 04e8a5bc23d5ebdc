#include "tests/parallel/communicator_contract.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <stdexcept>

#include "parallel/errors.h"
#include "parallel/pieces.h"
#include "tests/parallel/communicator_contract_data.h"

namespace lmnet::testing {
namespace {

/// Around the bounds between one round of messages and two, and with fewer elements than ranks.
constexpr int64_t all_sizes[] = {1, 3, 1000, 16384, 70001};

void all_to_all_delivers_uneven_and_empty_parts(Communicator& group, at::Device device) {
  for (const at::ScalarType type : all_types) {
    for (const int64_t scale : {0, 1, 7, 50000}) {
      start_exchange(group, scale, type, 0, device)
          .check(fmt::format("all_to_all of {} with scale {}", at::toString(type), scale));
    }
  }
}

void messages_longer_than_one_part_arrive_whole(Communicator& group, at::Device device) {
  constexpr int64_t count = 1'200'000;
  const int next = (group.rank() + 1) % group.size();
  const int previous = (group.rank() + group.size() - 1) % group.size();
  std::vector<int64_t> send_counts(group.size(), 0);
  std::vector<int64_t> receive_counts(group.size(), 0);
  send_counts[next] = receive_counts[previous] = count;
  const at::Tensor numbers = at::arange(count, at::TensorOptions(at::kDouble).device(device));
  at::Tensor receive = at::zeros_like(numbers);
  group.all_to_all(numbers + group.rank(), send_counts, receive, receive_counts);
  require(at::equal(receive, numbers + previous), "9 MiB for the next rank");
}

void many_calls_in_a_row_keep_their_order(Communicator& group, at::Device device) {
  for (int call = 0; call < 100; ++call) {
    start_exchange(group, call % 5, at::kFloat, call, device).check("all_to_all among many calls");
    at::Tensor value = at::full({1}, call + group.rank(), at::TensorOptions(at::kLong).device(device));
    group.all_reduce(value, Reduction::max);
    require(value.item<int64_t>() == call + group.size() - 1, "all_reduce among many calls");
  }
}

void sums_are_those_of_rank_order_to_the_bit(Communicator& group, at::Device device) {
  for (const at::ScalarType type : all_types) {
    for (const int64_t count : all_sizes) {
      const at::Tensor wanted = plain_sum(tensors_of(everyone(group), count, type));
      at::Tensor sum = tensor_of(group.rank(), count, type).to(device);
      at::Tensor flat = sum.clone();
      group.all_reduce(sum);
      group.reduce_scatter(flat);
      const auto own_piece = [&](const at::Tensor& whole) { return piece_of(whole.cpu(), group.size(), group.rank()); };
      require(at::equal(sum.cpu(), wanted), fmt::format("sum of {} {}", count, at::toString(type)));
      require(at::equal(own_piece(flat), own_piece(wanted)), fmt::format("piece of {} {}", count, at::toString(type)));
    }
  }
}

void sums_of_bf16_are_rounded_once(Communicator& group, at::Device device) {
  // 256 + 1 in bf16 is 256 again: rounding at each step would lose every 1.
  at::Tensor value = at::full({1}, group.rank() == 0 ? 256 : 1, at::TensorOptions(at::kBFloat16).device(device));
  group.all_reduce(value);
  require(at::equal(value.cpu(), at::full({1}, 256 + group.size() - 1, at::kFloat).to(at::kBFloat16)),
          "256 + 1 + 1 + …");
}

void max_and_min_take_the_extreme_of_all_ranks(Communicator& group, at::Device device) {
  for (const at::ScalarType type : all_types) {
    for (const int64_t count : all_sizes) {
      const at::Tensor all = at::stack(tensors_of(everyone(group), count, type));
      at::Tensor largest = tensor_of(group.rank(), count, type).to(device);
      at::Tensor smallest = largest.clone();
      group.all_reduce(largest, Reduction::max);
      group.all_reduce(smallest, Reduction::min);
      require(at::equal(largest.cpu(), at::amax(all, 0)), fmt::format("max of {} {}", count, at::toString(type)));
      require(at::equal(smallest.cpu(), at::amin(all, 0)), fmt::format("min of {} {}", count, at::toString(type)));
    }
  }
}

void not_a_number_on_one_rank_reaches_all(Communicator& group, at::Device device) {
  at::Tensor value =
      at::full({2}, group.rank() + 1 == group.size() ? NAN : 1.0, at::TensorOptions(at::kDouble).device(device));
  at::Tensor largest = value.clone();
  group.all_reduce(value);
  group.all_reduce(largest, Reduction::max);
  require(at::isnan(value).all().item<bool>() && at::isnan(largest).all().item<bool>(), "NaN was lost");
}

void long_tensors_are_reduced_in_rounds(Communicator& group, at::Device device) {
  const int64_t count = (int64_t{9} << 20) + 5;  // 72 MiB
  const at::Tensor ramp = at::arange(count, at::TensorOptions(at::kLong).device(device));
  at::Tensor value = ramp + group.rank();
  group.all_reduce(value);
  require(at::equal(value, ramp * group.size() + group.size() * (group.size() - 1) / 2), "sum of 72 MiB");
}

void reductions_keep_the_shape(Communicator& group, at::Device device) {
  const at::TensorOptions options(device);
  at::Tensor scalar = at::full({}, group.rank(), options.dtype(at::kLong));
  group.all_reduce(scalar);
  require(scalar.dim() == 0 && scalar.item<int64_t>() == group.size() * (group.size() - 1) / 2, "sum of a scalar");
  at::Tensor matrix = at::ones({3, 5}, options);
  group.all_reduce(matrix);
  require(at::equal(matrix.cpu(), at::full({3, 5}, group.size(), at::kFloat)), "sum of a matrix");
  at::Tensor empty = at::empty({0}, options);
  group.all_reduce(empty);
  group.reduce_scatter(empty);
  group.all_gather(empty);
}

void all_gather_puts_every_piece_into_its_place(Communicator& group, at::Device device) {
  for (const at::ScalarType type : all_types) {
    for (const int64_t count : all_sizes) {
      at::Tensor flat = at::zeros({count}, at::TensorOptions(type).device(device));
      at::Tensor wanted = at::zeros({count}, type);
      for (int r = 0; r < group.size(); ++r) {
        piece_of(wanted, group.size(), r).copy_(piece_of(tensor_of(r, count, type), group.size(), r));
      }
      piece_of(flat, group.size(), group.rank()).copy_(piece_of(wanted, group.size(), group.rank()));
      group.all_gather(flat);
      require(at::equal(flat.cpu(), wanted), fmt::format("all_gather of {} {}", count, at::toString(type)));
    }
  }
}

void broadcast_copies_from_every_root(Communicator& group, at::Device device) {
  for (int root = 0; root < group.size(); ++root) {
    for (const at::ScalarType type : all_types) {
      for (const int64_t count : {0, 1, 30000}) {
        at::Tensor tensor = tensor_of(group.rank(), count, type).to(device);
        group.broadcast(tensor, root);
        require(at::equal(tensor.cpu(), tensor_of(root, count, type)), fmt::format("broadcast from rank {}", root));
      }
    }
  }
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

void wrong_arguments_are_refused(Communicator& group, at::Device device) {
  const at::TensorOptions options(device);
  at::Tensor strided = at::zeros({4, 4}, options).t();
  require_communication_error([&] { group.all_reduce(strided); }, "a strided tensor");
  at::Tensor half = at::zeros({4}, options.dtype(at::kHalf));
  require_communication_error([&] { group.all_reduce(half); }, "fp16");
  at::Tensor tensor = at::zeros({4}, options);
  require_communication_error([&] { group.broadcast(tensor, group.size()); }, "a root that is not there");
  at::Tensor matrix = at::zeros({4, 4}, options);
  require_communication_error([&] { group.all_gather(matrix); }, "a matrix where a flat tensor is wanted");
  const std::vector<int64_t> counts(group.size(), 3);
  require_communication_error([&] { group.all_to_all(tensor, counts, tensor, counts); }, "counts that do not add up");
  require_communication_error([&] { group.subgroup({}); }, "a subgroup without this rank");
  require_communication_error([&] { group.subgroup({group.rank(), group.size()}); }, "a rank that is not there");
}

constexpr ContractCase collective_cases[] = {
    {"all_to_all_delivers_uneven_and_empty_parts", all_to_all_delivers_uneven_and_empty_parts},
    {"messages_longer_than_one_part_arrive_whole", messages_longer_than_one_part_arrive_whole},
    {"many_calls_in_a_row_keep_their_order", many_calls_in_a_row_keep_their_order},
    {"sums_are_those_of_rank_order_to_the_bit", sums_are_those_of_rank_order_to_the_bit},
    {"sums_of_bf16_are_rounded_once", sums_of_bf16_are_rounded_once},
    {"max_and_min_take_the_extreme_of_all_ranks", max_and_min_take_the_extreme_of_all_ranks},
    {"not_a_number_on_one_rank_reaches_all", not_a_number_on_one_rank_reaches_all},
    {"long_tensors_are_reduced_in_rounds", long_tensors_are_reduced_in_rounds},
    {"reductions_keep_the_shape", reductions_keep_the_shape},
    {"all_gather_puts_every_piece_into_its_place", all_gather_puts_every_piece_into_its_place},
    {"broadcast_copies_from_every_root", broadcast_copies_from_every_root},
    {"wrong_arguments_are_refused", wrong_arguments_are_refused},
};

}  // namespace

std::span<const ContractCase> communicator_contract() {
  return collective_cases;
}

}  // namespace lmnet::testing
