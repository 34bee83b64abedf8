// A fixed-size ring buffer.
#include <array>
#include <cstddef>
#include <optional>

template <typename T, std::size_t Capacity>
class Queue {
public:
	bool push(const T& value) {
		if (size_ == Capacity) return false;
		values_[(first_ + size_) % Capacity] = value;
		++size_;
		return true;
	}

	std::optional<T> pop() {
		if (size_ == 0) return std::nullopt;
		T value = values_[first_];
		first_ = (first_ + 1) % Capacity;
		--size_;
		return value;
	}

private:
	std::array<T, Capacity> values_{};
	std::size_t first_ = 0;
	std::size_t size_ = 0;
};
