"""JT/T 809: the link between platforms (道路运输车辆卫星定位系统 平台数据交换), 2011 and 2019, with the video extension of JT/T 1078-2016.

``framing`` cuts the byte stream, ``header`` and ``cipher`` take a frame apart, ``envelope`` finds the sub-business (子业务) in a body, ``messages``
holds one class a message.
"""
