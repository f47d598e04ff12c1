// The page's words in English and Chinese. t("key", {name: value}) fills {name}.

const WORDS = {
  en: {
    search: "Plate or number", terminals_count: "{online} of {total} online", none_known: "No terminal is known yet. Add one:",
    none_online: "No terminal has connected yet. It dials the JT/T 808 port of this relay.", none_match: "Nothing matches “{q}”.",
    online: "online", offline: "offline", since: "since {time}", edition: "JT/T 808-{edition}",
    connected: "Live", connecting: "Connecting…", lost: "Connection to the relay lost; trying again in {s} s",
    layout: "Show {n} pictures", silence: "Sound off", sound_on: "Sound on", theme: "Light or dark", menu: "Terminals",
    empty: "Choose a channel on the left, or drag it here.", channel: "Channel {n}", ch: "CH{n}",
    main: "Main stream", sub: "Sub stream", main_short: "Main", sub_short: "Sub",
    sound: "Sound", mute: "Mute", snapshot: "Save this picture", fullscreen: "Full screen", still_watching: "Are you still watching? It ends in {s} s.", still_yes: "Yes, go on", overlay: "Plate, time and speed over the pictures", osd_no_position: "no position", close: "Close", details: "Details", retry: "Try again", play: "Play",
    again_in: "Trying again in {s} s", waiting: "Waiting for pictures…", stalled: "The picture has stopped: nothing has come from the terminal for {s} s.",
    stalled_hint: "It goes on by itself when the terminal sends again.",
    hop_requested: "Asked for", hop_sent: "Request sent to the terminal (0x9101)", hop_answered: "Terminal agreed (0x0001)", hop_connected: "Terminal connected to the media port",
    hop_first_packet: "First JT/T 1078 packet", hop_first_key_frame: "First key frame", hop_first_byte: "Picture on its way to this page",
    no_sound: "No sound", kbps: "kbit/s", kmh: "km/h", delay: "delay", fps: "fps", buffered: "buffer",
    d_codec: "Codec", d_size: "Picture", d_sound: "Sound", d_rate: "Rate", d_behind: "Behind", d_lost: "Frames dropped here", d_reconnects: "Reconnects", d_received: "Received", d_stream: "Stream", d_hops: "How it started",
    unsupported_mse: "This browser has no Media Source Extensions, so it cannot play live pictures here.", unsupported_mse_hint: "Use a current Chrome, Edge, Firefox or Safari.",
    unsupported_codec: "This browser cannot decode {mime}.", unsupported_codec_hint: "Ask for the sub stream, which is mostly H.264, or use a browser with hardware H.265.",
    decode_error: "The browser could not decode the stream: {why}", ended: "The stream has ended: {why}", ws_failed: "The connection to the relay failed.", ws_failed_hint: "Is the relay running? A proxy in between must pass WebSockets.",
    sound_dropped: "Sound left out: the terminal stopped sending it",
    saved: "Saved as {name}", full_wall: "All pictures are in use; the selected one was replaced.", api_error: "{message}",
    mic: "audio only", tk_holds: "{who} holds the microphone",
    page_live: "Live", page_vehicles: "Vehicles", page_playback: "Playback", page_map: "Map", page_alarms: "Alarms", page_superiors: "Superiors", page_inspector: "Messages", page_streams: "Streams", page_audit: "Audit", page_settings: "Settings", pages: "Pages", sign_out: "Sign out",
  },
  zh: {
    search: "车牌号或终端手机号", terminals_count: "在线 {online} / 共 {total}", none_known: "还没有登记终端，可用命令添加：",
    none_online: "尚无终端连接。终端应连接本机的 JT/T 808 端口。", none_match: "没有匹配“{q}”的终端。",
    online: "在线", offline: "离线", since: "自 {time}", edition: "JT/T 808-{edition}",
    connected: "已连接", connecting: "连接中…", lost: "与服务器的连接已断开，{s} 秒后重试",
    layout: "{n} 画面", silence: "全部静音", sound_on: "打开声音", theme: "明暗主题", menu: "终端列表",
    empty: "在左侧选择通道，或将通道拖到这里。", channel: "通道 {n}", ch: "通道{n}",
    main: "主码流", sub: "子码流", main_short: "主", sub_short: "子",
    sound: "声音", mute: "静音", snapshot: "截图保存", fullscreen: "全屏", still_watching: "是否仍在观看？{s} 秒后结束。", still_yes: "继续观看", overlay: "画面叠加车牌、时间、速度", osd_no_position: "无位置", close: "关闭", details: "详情", retry: "重试", play: "播放",
    again_in: "{s} 秒后重试", waiting: "等待画面…", stalled: "画面停止：终端已 {s} 秒没有发送数据。",
    stalled_hint: "终端恢复发送后会自动继续。",
    hop_requested: "收到点播请求", hop_sent: "已向终端下发请求（0x9101）", hop_answered: "终端已应答（0x0001）", hop_connected: "终端已连接媒体端口",
    hop_first_packet: "收到首个 JT/T 1078 包", hop_first_key_frame: "收到首个关键帧", hop_first_byte: "画面已发往本页",
    no_sound: "无声音", kbps: "kbit/s", kmh: "km/h", delay: "延时", fps: "帧/秒", buffered: "缓冲",
    d_codec: "编码", d_size: "画面", d_sound: "声音", d_rate: "码率", d_behind: "落后", d_lost: "本页丢帧", d_reconnects: "重连次数", d_received: "已接收", d_stream: "码流", d_hops: "启动过程",
    unsupported_mse: "此浏览器不支持 Media Source Extensions，无法播放实时画面。", unsupported_mse_hint: "请使用新版 Chrome、Edge、Firefox 或 Safari。",
    unsupported_codec: "此浏览器无法解码 {mime}。", unsupported_codec_hint: "可改用子码流（多为 H.264），或使用支持 H.265 硬解的浏览器。",
    decode_error: "浏览器解码失败：{why}", ended: "码流已结束：{why}", ws_failed: "与服务器的连接失败。", ws_failed_hint: "服务是否在运行？中间的代理必须放行 WebSocket。",
    sound_dropped: "已去掉声音：终端停止发送音频",
    saved: "已保存为 {name}", full_wall: "画面已满，已替换选中的画面。", api_error: "{message}",
    mic: "仅音频", tk_holds: "{who} 正在使用麦克风",
    page_live: "实时视频", page_vehicles: "车辆", page_playback: "回放", page_map: "地图", page_alarms: "报警", page_superiors: "上级平台", page_inspector: "报文", page_streams: "码流", page_audit: "审计", page_settings: "设置", pages: "页面", sign_out: "退出登录",
  },
};

// JT/T 1076-2016 table 2: where a logical channel looks.
const PLACES = {
  en: { 1: "driver", 2: "road ahead", 3: "front door", 4: "cabin front", 5: "cabin rear", 6: "rear door", 7: "luggage", 8: "left side", 9: "right side", 10: "behind", 11: "cabin middle", 12: "middle door", 13: "driver's door", 33: "driver (audio)", 36: "cabin front (audio)", 37: "cabin rear (audio)" },
  zh: { 1: "驾驶员", 2: "车辆正前方", 3: "车前门", 4: "车厢前部", 5: "车厢后部", 6: "车后门", 7: "行李舱", 8: "车辆左侧", 9: "车辆右侧", 10: "车辆正后方", 11: "车厢中部", 12: "车中门", 13: "驾驶席车门", 33: "驾驶员（音频）", 36: "车厢前部（音频）", 37: "车厢后部（音频）" },
};

/** Words of a page of its own: `{en: {…}, zh: {…}}`. */
export function addWords(more) {
  for (const [code, words] of Object.entries(more)) Object.assign(WORDS[code], words);
}

let language = localStorage.getItem("language") || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

export const currentLanguage = () => language;

export function setLanguage(next) {
  language = next;
  localStorage.setItem("language", next);
  document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
}

export function t(key, values = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

export function place(channel) {
  return PLACES[language][channel] || "";
}

document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
