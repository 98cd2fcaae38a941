#include "simt/schedule.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace mask_predict::simt {

namespace {

Schedule schedule;
bool schedule_is_set = false;
uint64_t random_state;

uint64_t draw() {  // splitmix64
  uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Schedule schedule_from_environment() {
  const char* text = std::getenv("MASK_PREDICT_SIMT_SCHEDULE");
  const std::string name = text ? text : "round-robin";
  if (name == "round-robin") return {Order::RoundRobin, 0};
  if (name == "ahead") return {Order::Ahead, 0};
  if (name.rfind("random:", 0) == 0) return {Order::Random, std::strtoull(name.c_str() + 7, nullptr, 10)};
  if (name != "random") {
    throw std::runtime_error("MASK_PREDICT_SIMT_SCHEDULE is round-robin, ahead, random or random:<seed>, not " + name);
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const Schedule drawn{Order::Random, static_cast<uint64_t>(now) % 1000000};
  std::fprintf(stderr, "simt: MASK_PREDICT_SIMT_SCHEDULE=random:%llu\n", static_cast<unsigned long long>(drawn.seed));
  return drawn;
}

int nth_bit(uint32_t bits, uint64_t n) {
  for (; n > 0; --n) bits &= bits - 1;
  return std::countr_zero(bits);
}

int drawn_bit(uint32_t bits) { return nth_bit(bits, draw() % static_cast<uint64_t>(std::popcount(bits))); }

// Around the end: the first bit at `position` or above, else the first one.
int bit_from(uint32_t bits, int position) {
  const uint32_t later = position < 32 ? bits >> position << position : 0;
  return std::countr_zero(later ? later : bits);
}

}  // namespace

Ready::Ready(int warps, uint64_t block_number)
    : warp_count_(warps), first_warp_(warps - 1 - static_cast<int>(block_number % static_cast<uint64_t>(warps))) {}

void Ready::add(int warp, uint32_t lanes) {
  lanes_[warp] |= lanes;
  warps_ |= 1u << warp;
}

int Ready::take(int running) {
  if (!warps_) return -1;
  const int thread = choose(running);
  uint32_t& lanes = lanes_[thread / 32];
  lanes &= ~(1u << thread % 32);
  if (!lanes) warps_ &= ~(1u << thread / 32);
  return thread;
}

int Ready::choose(int running) const {
  switch (schedule.order) {
    case Order::RoundRobin: {
      const int next = running + 1;
      const int warp = next / 32 % warp_count_;
      const uint32_t here = lanes_[warp] >> next % 32 << next % 32;
      if (here) return warp * 32 + std::countr_zero(here);
      const int later = bit_from(warps_, warp + 1);
      return later * 32 + std::countr_zero(lanes_[later]);
    }
    case Order::Ahead: {
      const int warp = bit_from(warps_, first_warp_);
      return warp * 32 + 31 - std::countl_zero(lanes_[warp]);
    }
    case Order::Random: break;
  }
  const int warp = drawn_bit(warps_);
  return warp * 32 + drawn_bit(lanes_[warp]);
}

std::vector<uint64_t> order_of_blocks(uint64_t count) {
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t{0});
  if (current_schedule().order == Order::Ahead) std::reverse(order.begin(), order.end());
  if (schedule.order == Order::Random) {
    for (uint64_t i = count; i > 1; --i) std::swap(order[i - 1], order[draw() % i]);
  }
  return order;
}

bool pauses_here() { return schedule.order == Order::Random && draw() % 4 == 0; }

void set_schedule(Schedule wanted) {
  schedule = wanted;
  schedule_is_set = true;
  random_state = wanted.seed;
}

Schedule current_schedule() {
  if (!schedule_is_set) set_schedule(schedule_from_environment());
  return schedule;
}

std::string describe(Schedule which) {
  switch (which.order) {
    case Order::RoundRobin: return "schedule round-robin";
    case Order::Ahead: return "schedule ahead";
    case Order::Random: break;
  }
  return "schedule random:" + std::to_string(which.seed);
}

}  // namespace mask_predict::simt
