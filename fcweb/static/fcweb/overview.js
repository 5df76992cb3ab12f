// Chart of the last 24 hours. Figures come from the json_script, words and colours from the page itself.
"use strict";

function colourOf(name) {
  return getComputedStyle(document.querySelector(`.legend .chart-${name}`)).color;
}

function drawChart() {
  const canvas = document.getElementById("throughput");
  const source = document.getElementById("throughput-data");
  if (!canvas || !source || !window.Chart) return;
  const data = JSON.parse(source.textContent);
  const style = getComputedStyle(document.querySelector(".legend"));
  window.Chart.getChart(canvas)?.destroy();
  const bar = (label, values, colour) => ({
    label,
    data: values,
    backgroundColor: colour,
    borderRadius: 2,
    categoryPercentage: 0.86,
    barPercentage: 1,
    maxBarThickness: 28,
  });
  new window.Chart(canvas, {
    type: "bar",
    data: {
      labels: data.labels,
      datasets: [
        bar(canvas.dataset.delivered, data.delivered, colourOf("ok")),
        bar(canvas.dataset.failed, data.failed, colourOf("fail")),
      ],
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      font: { family: style.fontFamily },
      plugins: { legend: { display: false } },
      scales: {
        x: {
          stacked: true,
          grid: { display: false },
          border: { color: style.borderTopColor },
          ticks: { color: style.color, maxRotation: 0, autoSkipPadding: 16 },
        },
        y: {
          stacked: true,
          beginAtZero: true,
          suggestedMax: 4,
          border: { display: false },
          grid: { color: style.borderTopColor },
          ticks: { color: style.color, precision: 0, maxTicksLimit: 5 },
        },
      },
    },
  });
}

drawChart();
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.querySelector("#throughput")) drawChart();
});
new MutationObserver(drawChart).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawChart);
