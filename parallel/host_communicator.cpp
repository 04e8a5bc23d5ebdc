#include "parallel/host_communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <numeric>

#include "parallel/errors.h"
#include "parallel/pieces.h"

namespace lmnet {
namespace {

/// Below this a second round of messages costs more than the bytes it saves.
constexpr size_t whole_bytes = 64 << 10;

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

void check_tensor(const Communicator& group, std::string_view collective, const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  const bool known = type == at::kDouble || type == at::kFloat || type == at::kBFloat16 || type == at::kLong;
  if (!known || !tensor.is_cpu() || !tensor.is_contiguous()) {
    throw CommunicationError(fmt::format(
        "rank {} of {}: {} takes contiguous host tensors of fp64, fp32, bf16 or int64, not {}{} on {}.", group.rank(),
        group.size(), collective, tensor.is_contiguous() ? "" : "strided ", at::toString(type), tensor.device().str()));
  }
}

/// Cuts `tensor` into the parts of the ranks.
std::vector<std::span<std::byte>> cut(const Communicator& group, const at::Tensor& tensor,
                                      std::span<const int64_t> counts, std::string_view what) {
  check_tensor(group, "all_to_all", tensor);
  const bool negative = std::any_of(counts.begin(), counts.end(), [](int64_t count) { return count < 0; });
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  if (std::ssize(counts) != group.size() || negative || total != tensor.numel() || tensor.dim() != 1) {
    throw CommunicationError(fmt::format(
        "rank {} of {}: all_to_all got {} counts that add up to {} for {} elements to {}; it takes a 1-D tensor and "
        "one count (0 or more) for each rank.",
        group.rank(), group.size(), counts.size(), total, tensor.numel(), what));
  }
  std::vector<std::span<std::byte>> parts;
  std::span<std::byte> rest = bytes_of(tensor);
  for (const int64_t count : counts) {
    const size_t bytes = static_cast<size_t>(count) * tensor.element_size();
    parts.push_back(rest.first(bytes));
    rest = rest.subspan(bytes);
  }
  return parts;
}

}  // namespace

void HostCommunicator::all_to_all(const at::Tensor& send, std::span<const int64_t> send_counts, at::Tensor& receive,
                                  std::span<const int64_t> receive_counts) {
  if (send.scalar_type() != receive.scalar_type()) {
    throw CommunicationError(fmt::format("rank {} of {}: all_to_all sends {} but receives {}.", rank(), size(),
                                         at::toString(send.scalar_type()), at::toString(receive.scalar_type())));
  }
  const auto outgoing = cut(*this, send, send_counts, "send");
  const auto incoming = cut(*this, receive, receive_counts, "receive");
  exchange("all_to_all", std::vector<Outgoing>(outgoing.begin(), outgoing.end()), incoming);
}

void HostCommunicator::all_reduce(at::Tensor& tensor, Reduction reduction) {
  check_tensor(*this, "all_reduce", tensor);
  if (size() == 1 || tensor.numel() == 0) {
    return;
  }
  const at::NoGradGuard no_grad;
  const at::Tensor flat = tensor.view(-1);
  if (tensor.nbytes() < whole_bytes) {
    reduce_whole(flat, reduction);
  } else {
    reduce_in_pieces(flat, reduction);
  }
}

void HostCommunicator::reduce_whole(at::Tensor flat, Reduction reduction) {
  const std::vector<at::Tensor> terms = at::empty({size(), flat.numel()}, flat.options()).unbind(0);
  std::vector<Incoming> receive;
  for (const at::Tensor& term : terms) {
    receive.push_back(bytes_of(term));
  }
  exchange("all_reduce", std::vector<Outgoing>(terms.size(), bytes_of(flat)), receive);
  reduce_in_order(terms, reduction, flat);
}

void HostCommunicator::reduce_in_pieces(at::Tensor flat, Reduction reduction) {
  std::vector<Incoming> pieces;
  for (int r = 0; r < size(); ++r) {
    pieces.push_back(bytes_of(piece_of(flat, size(), r)));
  }
  const at::Tensor mine = piece_of(flat, size(), rank());
  const std::vector<at::Tensor> terms = at::empty({size(), mine.numel()}, flat.options()).unbind(0);
  std::vector<Incoming> receive;
  for (const at::Tensor& term : terms) {
    receive.push_back(bytes_of(term));
  }
  exchange("all_reduce", std::vector<Outgoing>(pieces.begin(), pieces.end()), receive);
  reduce_in_order(terms, reduction, mine);
  exchange("all_reduce", std::vector<Outgoing>(terms.size(), bytes_of(mine)), pieces);
}

void HostCommunicator::broadcast(at::Tensor& tensor, int root) {
  check_tensor(*this, "broadcast", tensor);
  if (root < 0 || root >= size()) {
    throw CommunicationError(
        fmt::format("rank {} of {}: broadcast from rank {}, which does not exist.", rank(), size(), root));
  }
  broadcast_bytes(bytes_of(tensor), root);
}

void HostCommunicator::broadcast_bytes(Incoming bytes, int root) {
  std::vector<Outgoing> send(size());
  std::vector<Incoming> receive(size());
  if (rank() == root) {
    send.assign(size(), bytes);
  }
  receive[root] = bytes;
  exchange("broadcast", send, receive);
}

void HostCommunicator::barrier() {
  gather("barrier", 0);
}

std::vector<int> HostCommunicator::gather(std::string_view collective, int value) {
  std::vector<int> values(size());
  std::vector<Incoming> receive;
  for (int& each : values) {
    receive.push_back(std::as_writable_bytes(std::span(&each, 1)));
  }
  exchange(collective, std::vector<Outgoing>(values.size(), std::as_bytes(std::span(&value, 1))), receive);
  return values;
}

}  // namespace lmnet
