#include "parallel/cuda/nccl_communicator.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "parallel/collective_check.h"
#include "parallel/errors.h"
#include "parallel/pieces.h"

namespace lmnet {
namespace {

/// Of one of the types that fault_of_tensor() lets through.
ncclDataType_t nccl_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return ncclFloat64;
    case at::kFloat:
      return ncclFloat32;
    case at::kBFloat16:
      return ncclBfloat16;
    default:
      return ncclInt64;
  }
}

ncclRedOp_t nccl_operation(Reduction reduction) {
  switch (reduction) {
    case Reduction::max:
      return ncclMax;
    case Reduction::min:
      return ncclMin;
    case Reduction::sum:
      break;
  }
  return ncclSum;
}

/// A collective on its way on the GPU.
class NcclRun final : public Watchdog::Watched {
 public:
  explicit NcclRun(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {}

  void begins_on(const c10::cuda::CUDAStream& stream) { begin_.record(stream); }
  void ends_on(const c10::cuda::CUDAStream& stream) { end_.record(stream); }
  void goes_before(const c10::cuda::CUDAStream& stream) { end_.block(stream); }

  bool begun() override { return begin_.query(); }
  bool done() override { return end_.query(); }
  void release() override { tensors_.clear(); }

 private:
  c10::cuda::CUDAEvent begin_, end_;
  std::vector<at::Tensor> tensors_;  // cleared by the watchdog, not read by anybody else
};

/// Apart from NcclRun, because the watchdog, which holds that one, must not hold the job.
class NcclWork final : public Work::State {
 public:
  NcclWork(std::shared_ptr<NcclJob> job, std::shared_ptr<NcclRun> run) : job_(std::move(job)), run_(std::move(run)) {}

  void wait() override {
    job_->watchdog().check();
    run_->goes_before(c10::cuda::getCurrentCUDAStream(job_->device().index()));
  }
  bool done() override { return job_->watchdog().failed() || run_->done(); }

 private:
  std::shared_ptr<NcclJob> job_;
  std::shared_ptr<NcclRun> run_;
};

/// The parts of a 1-D tensor with these sizes.
std::vector<at::Tensor> cut(const at::Tensor& flat, std::span<const int64_t> sizes) {
  std::vector<at::Tensor> parts;
  int64_t offset = 0;
  for (const int64_t size : sizes) {
    parts.push_back(flat.narrow(0, offset, size));
    offset += size;
  }
  return parts;
}

std::vector<int> first_ranks(int count) {
  std::vector<int> ranks(count);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host, at::Device device)
    : job_(std::make_shared<NcclJob>(*host, device)),
      queue_(job_->new_queue()),
      group_(job_->new_group(*host)),
      members_{first_ranks(host->size()), first_ranks(host->size())},
      host_(std::move(host)) {}

NcclCommunicator::NcclCommunicator(std::shared_ptr<NcclJob> job, NcclJob::Queue queue, std::shared_ptr<NcclGroup> group,
                                   Members members, std::unique_ptr<Communicator> host)
    : job_(std::move(job)),
      queue_(queue),
      group_(std::move(group)),
      members_(std::move(members)),
      host_(std::move(host)) {}

void NcclCommunicator::require_none(std::string_view collective, std::string_view fault) const {
  if (fault.empty()) return;
  throw CommunicationError(fmt::format("{}: {}: {}", job_->watchdog().name(), collective, fault));
}

bool NcclCommunicator::on_host(std::string_view collective, const at::Tensor& tensor, bool flat) const {
  job_->watchdog().check();
  if (tensor.is_cpu()) return true;  // the host's communicator looks at it
  require_none(collective, fault_of_tensor(tensor, flat, job_->device()));
  return false;
}

Watchdog::Label NcclCommunicator::label(const char* collective) const {
  Watchdog::Label label{collective, {}};
  for (int r = 0; r < size(); ++r)
    if (r != rank()) label.peers.push_back(members_.world[r]);
  return label;
}

Work NcclCommunicator::start(const char* collective, Tensors tensors,
                             const std::function<void(const Watchdog::Label&)>& enqueue) {
  const at::NoGradGuard no_grad;
  const c10::cuda::CUDAGuard device(job_->device());
  const Watchdog::Label what = label(collective);
  const bool something = std::ranges::any_of(tensors, [](const at::Tensor& tensor) { return tensor.numel() > 0; });
  const auto run = std::make_shared<NcclRun>(std::move(tensors));
  c10::cuda::CUDAEvent ready;
  ready.record(c10::cuda::getCurrentCUDAStream(job_->device().index()));
  ready.block(queue_.stream);
  const c10::cuda::CUDAStreamGuard stream(queue_.stream);
  run->begins_on(queue_.stream);
  if (something) enqueue(what);
  run->ends_on(queue_.stream);
  job_->watchdog().watch(queue_.number, what, run);
  return Work(std::make_shared<NcclWork>(job_, run));
}

/// Sends send[r] to each member r and fills receive[r] from it.
void NcclCommunicator::send_and_receive(const Watchdog::Label& label, const Tensors& send, const Tensors& receive) {
  if (receive[rank()].data_ptr() != send[rank()].data_ptr()) receive[rank()].copy_(send[rank()]);
  bool nothing = true;
  for (int r = 0; r < size(); ++r)
    nothing = nothing && (r == rank() || (send[r].numel() == 0 && receive[r].numel() == 0));
  if (nothing) return;
  group_->submit(label, [&](ncclComm_t comm) {
    ncclResult_t result = ncclSuccess;
    const auto add = [&](ncclResult_t next) {
      if (result == ncclSuccess && next != ncclInProgress) result = next;
    };
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      const int peer = members_.nccl[r];
      if (send[r].numel() > 0)
        add(ncclSend(send[r].data_ptr(), send[r].numel(), nccl_type(send[r]), peer, comm, queue_.stream));
      if (receive[r].numel() > 0)
        add(ncclRecv(receive[r].data_ptr(), receive[r].numel(), nccl_type(receive[r]), peer, comm, queue_.stream));
    }
    return result;
  });
}

Work NcclCommunicator::start_all_to_all(at::Tensor send, std::span<const int64_t> send_counts, at::Tensor receive,
                                        std::span<const int64_t> receive_counts) {
  if (on_host("all_to_all", send, true)) return host_->start_all_to_all(send, send_counts, receive, receive_counts);
  require_none("all_to_all", fault_of_all_to_all(send, send_counts, receive, receive_counts, rank(), size()));
  on_host("all_to_all", receive, true);
  const Tensors to = cut(send, send_counts), from = cut(receive, receive_counts);
  return start("all_to_all", {send, receive}, [&](const auto& label) { send_and_receive(label, to, from); });
}

/// In rank order, point to point: every rank gets all copies of its piece.
void NcclCommunicator::reduce_own_piece(const Watchdog::Label& label, const at::Tensor& flat, Reduction reduction) {
  const at::Tensor own = piece_of(flat, size(), rank());
  if (whole() && flat.numel() % size() == 0) {
    group_->submit(label, [&](ncclComm_t comm) {
      return ncclReduceScatter(flat.data_ptr(), own.data_ptr(), own.numel(), nccl_type(flat), nccl_operation(reduction),
                               comm, queue_.stream);
    });
    return;
  }
  Tensors mine, terms;
  for (int r = 0; r < size(); ++r) {
    mine.push_back(piece_of(flat, size(), r));
    terms.push_back(r == rank() ? own : at::empty_like(own));
  }
  send_and_receive(label, mine, terms);
  const at::Tensor result = at::empty_like(own);
  reduce_in_order(terms, reduction, result);
  own.copy_(result);
}

void NcclCommunicator::gather_pieces(const Watchdog::Label& label, const at::Tensor& flat) {
  const at::Tensor own = piece_of(flat, size(), rank());
  if (whole() && flat.numel() % size() == 0) {
    group_->submit(label, [&](ncclComm_t comm) {
      return ncclAllGather(own.data_ptr(), flat.data_ptr(), own.numel(), nccl_type(flat), comm, queue_.stream);
    });
    return;
  }
  Tensors pieces;
  for (int r = 0; r < size(); ++r) pieces.push_back(piece_of(flat, size(), r));
  send_and_receive(label, Tensors(size(), own), pieces);
}

Work NcclCommunicator::start_all_reduce(at::Tensor tensor, Reduction reduction) {
  if (on_host("all_reduce", tensor, false)) return host_->start_all_reduce(tensor, reduction);
  return start("all_reduce", {tensor}, [&](const auto& label) {
    const at::Tensor flat = tensor.view({-1});
    if (!whole()) {
      reduce_own_piece(label, flat, reduction);
      return gather_pieces(label, flat);
    }
    group_->submit(label, [&](ncclComm_t comm) {
      return ncclAllReduce(flat.data_ptr(), flat.data_ptr(), flat.numel(), nccl_type(flat), nccl_operation(reduction),
                           comm, queue_.stream);
    });
  });
}

Work NcclCommunicator::start_reduce_scatter(at::Tensor flat, Reduction reduction) {
  if (on_host("reduce_scatter", flat, true)) return host_->start_reduce_scatter(flat, reduction);
  return start("reduce_scatter", {flat}, [&](const auto& label) { reduce_own_piece(label, flat, reduction); });
}

Work NcclCommunicator::start_all_gather(at::Tensor flat) {
  if (on_host("all_gather", flat, true)) return host_->start_all_gather(flat);
  return start("all_gather", {flat}, [&](const auto& label) { gather_pieces(label, flat); });
}

Work NcclCommunicator::start_broadcast(at::Tensor tensor, int root) {
  require_none("broadcast", fault_of_root(root, size()));
  if (on_host("broadcast", tensor, false)) return host_->start_broadcast(tensor, root);
  return start("broadcast", {tensor}, [&](const auto& label) {
    const at::Tensor flat = tensor.view({-1});
    group_->submit(label, [&](ncclComm_t comm) {
      const int peer = members_.nccl[root];
      if (whole())
        return ncclBroadcast(flat.data_ptr(), flat.data_ptr(), flat.numel(), nccl_type(flat), peer, comm,
                             queue_.stream);
      if (rank() != root) return ncclRecv(flat.data_ptr(), flat.numel(), nccl_type(flat), peer, comm, queue_.stream);
      ncclResult_t result = ncclSuccess;
      for (int r = 0; r < size() && (result == ncclSuccess || result == ncclInProgress); ++r)
        if (r != root)
          result = ncclSend(flat.data_ptr(), flat.numel(), nccl_type(flat), members_.nccl[r], comm, queue_.stream);
      return result;
    });
  });
}

void NcclCommunicator::barrier() {
  job_->watchdog().check();
  host_->barrier();
}

std::unique_ptr<Communicator> NcclCommunicator::split(int color) {
  at::Tensor colors = at::zeros({size()}, at::kLong);
  colors[rank()] = color;
  host_->all_gather(colors);
  Members members;
  for (int r = 0; r < size(); ++r)
    if (colors[r].item<int64_t>() == color) members.world.push_back(members_.world[r]);
  members.nccl = first_ranks(static_cast<int>(members.world.size()));
  std::unique_ptr<Communicator> host = host_->split(color);
  auto group = job_->new_group(*host);
  return std::make_unique<NcclCommunicator>(job_, queue_, std::move(group), std::move(members), std::move(host));
}

std::unique_ptr<Communicator> NcclCommunicator::subgroup(std::vector<int> ranks) {
  std::unique_ptr<Communicator> host = host_->subgroup(ranks);  // refuses ranks that are not there
  Members members;
  for (const int r : ranks) {
    members.world.push_back(members_.world[r]);
    members.nccl.push_back(members_.nccl[r]);
  }
  return std::make_unique<NcclCommunicator>(job_, queue_, group_, std::move(members), std::move(host));
}

std::unique_ptr<Communicator> NcclCommunicator::fork() {
  std::unique_ptr<Communicator> host = host_->fork();
  Members members{members_.world, first_ranks(size())};
  auto group = job_->new_group(*host);
  return std::make_unique<NcclCommunicator>(job_, job_->new_queue(), std::move(group), std::move(members),
                                            std::move(host));
}

void NcclCommunicator::enter(std::string phase, std::chrono::milliseconds timeout) {
  job_->watchdog().enter(phase, timeout);
  host_->enter(std::move(phase), timeout);
}

void NcclCommunicator::fail(const std::string& cause, int code) noexcept {
  host_->fail(cause, code);
  job_->watchdog().fail(std::make_exception_ptr(CommunicationError(cause)));
}

}  // namespace lmnet
