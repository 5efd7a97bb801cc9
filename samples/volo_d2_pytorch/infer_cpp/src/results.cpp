#include "results.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "error.hpp"

namespace sample {
namespace {

constexpr size_t kTop = 5;

std::ofstream opened(const std::string& path) {
    std::ofstream file(path, std::ios::trunc);
    if (!file) {
        throw Error("writing " + path + ": expected a writable place, got none");
    }
    return file;
}

// Nine digits give a float32 back exactly.
std::string text(float score) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", static_cast<double>(score));
    return digits;
}

}  // namespace

std::vector<int> best(const float* scores, size_t classes, size_t count) {
    std::vector<int> order(classes);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [scores](int a, int b) { return scores[a] > scores[b]; });
    order.resize(std::min(count, classes));
    return order;
}

Results::Results(const std::string& result, const std::string& labels, const std::string& top1,
                 const std::string& top5)
    : result_(opened(result)), labels_(opened(labels)), top1_(opened(top1)), top5_(opened(top5)) {}

void Results::add(const Picture& picture, const float* scores, size_t classes, const std::vector<std::string>& names) {
    const std::vector<int> top = best(scores, classes, kTop);
    labels_ << picture.name << ' ' << picture.label << '\n';
    top1_ << picture.name << ' ' << top.front() << '\n';
    top5_ << picture.name;
    result_ << "top5 result in " << picture.name << ":\n";
    for (size_t place = 0; place < top.size(); ++place) {
        const int number = top[place];
        top5_ << ' ' << number;
        result_ << place << " [" << (names.empty() ? "class " + std::to_string(number) : names[number]) << "] "
                << text(scores[number]) << '\n';
    }
    top5_ << '\n';
}

void Results::close() {
    for (std::ofstream* file : {&result_, &labels_, &top1_, &top5_}) {
        file->close();
        if (!*file) {
            throw Error("writing results: expected room for them, got none");
        }
    }
}

}  // namespace sample
