#include "tests/parallel/communicator_contract_data.h"

#include <ATen/ATen.h>

#include <numeric>
#include <stdexcept>

namespace lmnet::testing {
namespace {

/// How many elements `from` sends to `to`: uneven, some none.
int64_t count_between(int from, int to, int64_t scale) {
  return (from * 5 + to * 3) % 4 * scale;
}

}  // namespace

void require(bool condition, const std::string& what) {
  if (!condition) {
    throw std::runtime_error(what);
  }
}

at::Tensor tensor_of(int rank, int64_t count, at::ScalarType type, int64_t seed) {
  const at::Tensor i = at::arange(count, at::kDouble) + 977. * rank + 31. * static_cast<double>(seed);
  const at::Tensor mixed = at::sin(i * 12.9898) * at::exp(4 * at::sin(i * 0.37)) * 100;
  return mixed.to(type);
}

std::vector<at::Tensor> tensors_of(const std::vector<int>& ranks, int64_t count, at::ScalarType type, int64_t seed) {
  std::vector<at::Tensor> all;
  for (const int r : ranks) {
    all.push_back(tensor_of(r, count, type, seed));
  }
  return all;
}

std::vector<int> everyone(const Communicator& group) {
  std::vector<int> ranks(group.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

at::Tensor plain_sum(const std::vector<at::Tensor>& terms) {
  const at::ScalarType type = terms.front().scalar_type();
  at::Tensor sum = at::zeros_like(terms.front(), type == at::kBFloat16 ? at::kFloat : type);
  for (const at::Tensor& term : terms) {
    sum = sum + term;
  }
  return sum.to(type);
}

void Exchange::check(const std::string& what) const {
  work.wait();
  require(at::equal(receive.cpu(), wanted), what);
}

Exchange start_exchange(Communicator& group, int64_t scale, at::ScalarType type, int64_t seed, at::Device device) {
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
  Exchange exchange{.receive = {}, .wanted = at::cat(expected), .work = {}};
  exchange.receive = at::zeros_like(exchange.wanted, at::TensorOptions(device));
  exchange.work = group.start_all_to_all(at::cat(outgoing).to(device), send_counts, exchange.receive, receive_counts);
  return exchange;
}

}  // namespace lmnet::testing
