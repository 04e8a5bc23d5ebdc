#include "parallel/stages.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "parallel/pieces.h"

namespace lmnet {
namespace {

using Parts = std::vector<Stage::Part>;

/// The terms of a reduction lie side by side: a longer tensor is reduced in rounds, so that they stay small beside it.
constexpr size_t bytes_of_terms = size_t{64} << 20;

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

/// What `send(r)` says to each other rank r and what `receive(r)` says from it, empty or not. Receives first, so that
/// what arrives early finds its place; every rank begins with another peer.
template <class Send, class Receive>
Parts with_all_others(int rank, int size, Send send, Receive receive) {
  Parts parts;
  for (int distance = 1; distance < size; ++distance) {
    const int peer = (rank + size - distance) % size;
    parts.push_back({peer, true, receive(peer)});
  }
  for (int distance = 1; distance < size; ++distance) {
    const int peer = (rank + distance) % size;
    parts.push_back({peer, false, send(peer)});
  }
  return parts;
}

/// Cuts `tensor` into the parts of the ranks.
std::vector<std::span<std::byte>> cut_by(const at::Tensor& tensor, const std::vector<int64_t>& counts) {
  std::vector<std::span<std::byte>> parts;
  std::span<std::byte> rest = bytes_of(tensor);
  for (const int64_t count : counts) {
    const size_t bytes = static_cast<size_t>(count) * tensor.element_size();
    parts.push_back(rest.first(bytes));
    rest = rest.subspan(bytes);
  }
  return parts;
}

/// A reduction of `mine` with what comes from the others, `outgoing(r)` being sent to rank r.
template <class Outgoing>
Stage reduction_stage(int rank, int size, Reduction reduction, std::function<at::Tensor()> mine, Outgoing outgoing) {
  const auto terms = std::make_shared<std::vector<at::Tensor>>();
  Stage stage;
  stage.begin = [=] {
    *terms = at::empty({size, mine().numel()}, mine().options()).unbind(0);
    return with_all_others(rank, size, outgoing, [&](int peer) { return bytes_of((*terms)[peer]); });
  };
  stage.end = [=] {
    (*terms)[rank].copy_(mine());
    reduce_in_order(*terms, reduction, mine());
    terms->clear();
  };
  return stage;
}

}  // namespace

void Stages::copy_out(const Place& place, Range range) {
  if (place->needed()) {
    stages_.push_back({.begin =
                           [=] {
                             place->begin();
                             place->copy_out(range.first, range.count);
                             return Parts();
                           },
                       .ready = [=] { return place->copied(); }});
  }
}

void Stages::copy_back(const Place& place, Range range) {
  if (place->needed()) {
    // Done only when the copy is there: the next operation of the queue may read the tensor on another stream.
    stages_.push_back({.begin =
                           [=] {
                             place->copy_back(range.first, range.count);
                             return Parts();
                           },
                       .ready = [=] { return place->copied(); }});
  }
}

void Stages::exchange(const Place& send, std::vector<int64_t> send_counts, const Place& receive,
                      std::vector<int64_t> receive_counts) {
  Stage stage;
  stage.begin = [=, rank = rank_, size = size_] {
    const auto outgoing = cut_by(send->host(), send_counts);
    const auto incoming = cut_by(receive->host(), receive_counts);
    if (!outgoing[rank].empty()) {
      std::memcpy(incoming[rank].data(), outgoing[rank].data(), outgoing[rank].size());
    }
    return with_all_others(
        rank, size, [&](int peer) { return outgoing[peer]; }, [&](int peer) { return incoming[peer]; });
  };
  stages_.push_back(std::move(stage));
}

void Stages::reduce_whole(const Place& place, Reduction reduction) {
  stages_.push_back(reduction_stage(
      rank_, size_, reduction, [=] { return place->host().view(-1); }, [=](int) { return bytes_of(place->host()); }));
}

void Stages::reduce_own_piece(const Place& place, Reduction reduction) {
  const auto round = std::max<int64_t>(1, bytes_of_terms / place->tensor().element_size() / size_);
  const int64_t longest = (place->tensor().numel() + size_ - 1) / size_;
  for (int64_t first = 0; first == 0 || first < longest; first += round) {
    const auto part = [=, size = size_](int r) {
      const at::Tensor piece = piece_of(place->host().view(-1), size, r);
      const int64_t begin = std::min(first, piece.numel());
      return piece.narrow(0, begin, std::min(round, piece.numel() - begin));
    };
    stages_.push_back(reduction_stage(
        rank_, size_, reduction, [=, rank = rank_] { return part(rank); },
        [=](int peer) { return bytes_of(part(peer)); }));
  }
}

void Stages::gather_pieces(const Place& place) {
  Stage stage;
  stage.begin = [=, rank = rank_, size = size_] {
    const auto piece = [&](int r) { return bytes_of(piece_of(place->host().view(-1), size, r)); };
    return with_all_others(
        rank, size, [&](int) { return piece(rank); }, piece);
  };
  stages_.push_back(std::move(stage));
}

void Stages::spread(const Place& place, int root) {
  const int mine = (rank_ - root + size_) % size_;  // in a tree whose root is 0
  int lowest = 1;                                   // bit of `mine`; that of the root is beyond all
  while (lowest < size_ && (mine & lowest) == 0) {
    lowest *= 2;
  }
  const auto real = [root, size = size_](int place_in_tree) { return (place_in_tree + root) % size; };
  if (mine != 0) {
    stages_.push_back({.begin = [=] { return Parts{{real(mine - lowest), true, bytes_of(place->host())}}; }});
  }
  stages_.push_back({.begin = [=, size = size_] {
    Parts parts;
    for (int bit = lowest / 2; bit > 0; bit /= 2) {
      if (mine + bit < size) {
        parts.push_back({real(mine + bit), false, bytes_of(place->host())});
      }
    }
    return parts;
  }});
}

}  // namespace lmnet
